"""Who says which lane may begin a chunk: asked before every chunk, told of every one.

Here are the questions, and an arbiter that knows its own process only; `shared_arbiter.py` has the one that knows
every process on the token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from engine.errors import ConfigurationInvalid
from engine.pkcs11.lanes import BULK, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Want(NamedTuple):
    """What a lane of this process could begin now: it has both messages and idle sessions."""

    sessions: int
    """How many sessions could begin a chunk."""
    waited: float
    """Seconds the foremost chunk has waited."""


class ArbiterStatistics(NamedTuple):
    """What the arbiter decides by.

    Args:
        parallel: calls that may be in flight, of all processes; None = as many as there are sessions.
        bulk_ceiling: how many of them may be of bulk lanes; None = all.
        live_p99: seconds that 99 of 100 live answers of the recent seconds took to be signed; None without any.
        processes: how many pools share the token, this one counted.
        in_flight: calls of all of them in flight.
    """

    parallel: int | None
    bulk_ceiling: int | None
    live_p99: float | None
    processes: int
    in_flight: int


class Arbiter(Protocol):
    """Decides which lane of a pool may begin a chunk. For the event loop; nothing blocks but `run`."""

    def choose(self, wants: Mapping[Lane, Want]) -> Lane | None:
        """Return the lane that may begin a chunk now, one of those that want to, or None.

        Asked whenever something changed, also when no lane wants anything: then others may.
        """
        ...

    def longest_hold(self, lane: Lane) -> float:
        """Return for how many seconds a session may be held by a chunk of this lane."""
        ...

    def begun(self, lane: Lane, expected: float) -> None:
        """Note that a chunk began that will take about so many seconds."""
        ...

    def ended(self, lane: Lane, expected: float, held: float, latency: float) -> None:
        """Note that a chunk ended.

        Args:
            lane: its lane.
            expected: what `begun` was told.
            held: seconds for which it held its session.
            latency: seconds since it began to wait.
        """
        ...

    def when_changed(self, notify: Callable[[], None]) -> None:
        """Remember whom to call, in the event loop, whenever more may be allowed than before."""
        ...

    def statistics(self) -> ArbiterStatistics:
        """Return what it decides by, as it stands."""
        ...

    async def run(self) -> None:
        """Do what must be done from time to time, until cancelled."""
        ...


class InProcessArbiter:
    """An arbiter that knows this process only: the foremost lane goes first, always.

    Args:
        limit: calls in flight at most; None = as many as the pool has sessions.
        kept_for_urgent: how many of these the chunks of bulk lanes may not use.

    Raises:
        ConfigurationInvalid: nothing would be left for one of the lanes.
    """

    def __init__(self, limit: int | None = None, kept_for_urgent: int = 0) -> None:
        self._notified: list[Callable[[], None]] = []
        self._kept_for_urgent = kept_for_urgent
        self._in_flight = 0
        self.set_limit(limit)

    def set_limit(self, limit: int | None) -> None:
        """Change the limit; chunks that run are not stopped."""
        if limit is not None and not 0 <= self._kept_for_urgent < limit:
            rule = "at least one call is left for the bulk lanes"
            value = f"{self._kept_for_urgent} of {limit}"
            raise ConfigurationInvalid("too many calls are kept for the urgent lane", value=value, rule=rule)
        self._limit = limit
        for notify in self._notified:
            notify()

    def choose(self, wants: Mapping[Lane, Want]) -> Lane | None:
        """See `Arbiter`."""
        if not wants:
            return None
        foremost = min(wants)
        return foremost if self._in_flight < self._allowed(foremost) else None

    def _allowed(self, lane: Lane) -> float:
        if self._limit is None:
            return math.inf
        return self._limit - (self._kept_for_urgent if lane in BULK else 0)

    def longest_hold(self, lane: Lane) -> float:
        """See `Arbiter`. The pool's own bound is enough."""
        return math.inf

    def begun(self, lane: Lane, expected: float) -> None:
        """See `Arbiter`."""
        self._in_flight += 1

    def ended(self, lane: Lane, expected: float, held: float, latency: float) -> None:
        """See `Arbiter`."""
        self._in_flight -= 1

    def when_changed(self, notify: Callable[[], None]) -> None:
        """See `Arbiter`."""
        self._notified.append(notify)

    def statistics(self) -> ArbiterStatistics:
        """See `Arbiter`."""
        return ArbiterStatistics(self._limit, None, None, 1, self._in_flight)

    async def run(self) -> None:
        """See `Arbiter`. There is nothing to do."""
