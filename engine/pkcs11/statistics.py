"""What a pool tells of itself: its sessions, its lanes, errors by CKR."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.pkcs11.durations import Durations, DurationSummary, WindowedDurations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.pkcs11.arbiter import ArbiterStatistics
    from engine.pkcs11.lanes import Lane


@dataclass(frozen=True)
class SessionStatistics:
    """One session that is open or on its way out.

    Args:
        number: counts the sessions the pool has opened, from 1.
        state: "idle", "busy", "quarantined", "stuck" or "closing".
        in_flight: the lane whose chunk it has in hand, None without one.
        open_seconds: how long it has been open.
        signing: the calls it made, one duration a message.
        errors: how often it met each CKR value, by name.
    """

    number: int
    state: str
    in_flight: Lane | None
    open_seconds: float
    signing: DurationSummary
    errors: Mapping[str, int]


@dataclass(frozen=True)
class RecentLaneStatistics:
    """A lane in the recent seconds.

    Args:
        seconds: how many seconds these numbers cover: 10 to 20, fewer after the opening.
        waited: how long chunks waited for a session.
        signed: how long each call took.
    """

    seconds: float
    waited: DurationSummary
    signed: DurationSummary

    @property
    def done_per_second(self) -> float:
        """Signatures a second."""
        return self.signed.count / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class LaneStatistics:
    """A lane since the pool was opened, and in the recent seconds.

    Args:
        waiting: messages waiting now.
        waiting_peak: the most that ever waited.
        in_flight: sessions that have a chunk of the lane in hand: so many calls are in flight.
        done: messages that got their outcome from a session.
        refused: messages that were refused because the lane was full.
        waited: how long chunks waited for a session.
        signed: how long each call took, one duration a message.
        recent: the same of the recent seconds.
    """

    waiting: int
    waiting_peak: int
    in_flight: int
    done: int
    refused: int
    waited: DurationSummary
    signed: DurationSummary
    recent: RecentLaneStatistics


@dataclass(frozen=True)
class PoolStatistics:
    """A pool since it was opened.

    Args:
        size: how many sessions were asked for last.
        wanted: how many it should have now: none while it is drained.
        drained: whether it takes no work until it is undrained.
        sessions: each session that is open now.
        lanes: each lane.
        signing: the calls of all sessions, those gone included.
        errors: CKR values met, by name: signing, opening sessions, logging in.
        replacements: sessions opened in the place of another one.
        stuck: sessions stuck now.
        stuck_ever: sessions that ever were.
        arbiter: what says how many calls may be in flight.
    """

    size: int
    wanted: int
    drained: bool
    sessions: tuple[SessionStatistics, ...]
    lanes: Mapping[Lane, LaneStatistics]
    signing: DurationSummary
    errors: Mapping[str, int]
    replacements: int
    stuck: int
    stuck_ever: int
    arbiter: ArbiterStatistics


class SessionCounts:
    """The running numbers behind `SessionStatistics`, or behind the sum over all sessions gone."""

    def __init__(self) -> None:
        self.opened_at = 0.0
        self.signing = Durations()
        self.errors: Counter[str] = Counter()

    def merge(self, other: SessionCounts) -> None:
        """Count everything that the other one counted."""
        self.signing.merge(other.signing)
        self.errors.update(other.errors)


_SHARE_OF_NEW = 0.2
"""Weight of a chunk in the observed signing time: five chunks or so decide, so it follows a token that slows down."""


class LaneCounts:
    """The running numbers behind `LaneStatistics`.

    Args:
        now: trio's time in seconds.
    """

    def __init__(self, now: float) -> None:
        self.peak = 0
        self.in_flight = 0
        self.done = 0
        self.refused = 0
        self.waited = WindowedDurations(now)
        self.signed = WindowedDurations(now)
        self.call_seconds = 0.0
        """How long a call takes, of late; 0 = none was made."""

    def observe(self, durations_ns: Sequence[int]) -> None:
        """Let the calls of a chunk have their part in `call_seconds`."""
        if durations_ns:
            seconds = sum(durations_ns) / len(durations_ns) / 1e9
            self.call_seconds += (seconds - self.call_seconds) * (_SHARE_OF_NEW if self.call_seconds else 1)

    def statistics(self, waiting: int, now: float) -> LaneStatistics:
        """Return the numbers as they stand, with what waits now."""
        seconds, signed = self.signed.recent(now)
        return LaneStatistics(
            waiting=waiting,
            waiting_peak=self.peak,
            in_flight=self.in_flight,
            done=self.done,
            refused=self.refused,
            waited=self.waited.summary(),
            signed=self.signed.summary(),
            recent=RecentLaneStatistics(seconds, self.waited.recent(now)[1], signed),
        )
