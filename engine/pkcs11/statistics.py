"""What a pool counts: durations, errors by CKR, replacements, stuck sessions, and who waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.pkcs11.lanes import Lane


class Durations:
    """Counts durations in buckets of which four make an octave, so a percentile is exact to a fifth.

    Memory is bounded by the size of the numbers: about 250 buckets reach 100 days.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.longest_ns = 0
        self._buckets: Counter[int] = Counter()

    def add(self, nanoseconds: Iterable[int]) -> None:
        """Count these durations."""
        for duration in nanoseconds:
            self.count += 1
            self.total_ns += duration
            if duration > self.longest_ns:
                self.longest_ns = duration
            self._buckets[_bucket(duration)] += 1

    def merge(self, other: Durations) -> None:
        """Count everything that the other one counted."""
        self.count += other.count
        self.total_ns += other.total_ns
        self.longest_ns = max(self.longest_ns, other.longest_ns)
        self._buckets.update(other._buckets)

    def percentile_ns(self, percent: float) -> int:
        """Return a duration that so many percent do not exceed, rounded up to its bucket; 0 if nothing was counted."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(_upper_end(bucket), self.longest_ns)
        return self.longest_ns

    def summary(self) -> DurationSummary:
        """Return the numbers as they stand."""
        return DurationSummary(
            self.count, self.total_ns, self.longest_ns, self.percentile_ns(50), self.percentile_ns(99)
        )


def _bucket(duration: int) -> int:
    exponent = max(duration.bit_length() - 3, 0)
    return exponent * 4 + (duration >> exponent)


def _upper_end(bucket: int) -> int:
    exponent = max((bucket - 4) // 4, 0)
    return ((bucket - exponent * 4 + 1) << exponent) - 1


@dataclass(frozen=True)
class DurationSummary:
    """How many durations, their sum, the longest, the median and the 99th percentile, in nanoseconds."""

    count: int
    total_ns: int
    longest_ns: int
    median_ns: int
    percentile_99_ns: int


@dataclass(frozen=True)
class SessionStatistics:
    """One session that is open or on its way out.

    Args:
        number: counts the sessions the pool has opened, from 1.
        state: "idle", "busy", "stuck" or "closing".
        signing: the calls it made, one duration a message.
        errors: how often it met each CKR value, by name.
    """

    number: int
    state: str
    signing: DurationSummary
    errors: Mapping[str, int]


@dataclass(frozen=True)
class PoolStatistics:
    """A pool since it was opened.

    Args:
        sessions: each session that is open now.
        signing: the calls of all sessions, those gone included.
        errors: CKR values met, by name: signing, opening sessions, logging in.
        replacements: sessions opened in the place of another one.
        stuck: sessions stuck now.
        stuck_ever: sessions that ever were.
        waiting: messages waiting now, by lane.
        waiting_peak: the most that ever waited, by lane.
        waited: how long chunks waited for a session, by lane.
    """

    sessions: tuple[SessionStatistics, ...]
    signing: DurationSummary
    errors: Mapping[str, int]
    replacements: int
    stuck: int
    stuck_ever: int
    waiting: Mapping[Lane, int]
    waiting_peak: Mapping[Lane, int]
    waited: Mapping[Lane, DurationSummary]


class SessionCounts:
    """The running numbers behind `SessionStatistics`, or behind the sum over all sessions gone."""

    def __init__(self) -> None:
        self.signing = Durations()
        self.errors: Counter[str] = Counter()

    def merge(self, other: SessionCounts) -> None:
        """Count everything that the other one counted."""
        self.signing.merge(other.signing)
        self.errors.update(other.errors)
