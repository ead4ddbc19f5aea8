"""The arbiter of one token over all processes: reads what each says of itself, decides for this one, wakes others.

There is no process that decides for all. Each decides for itself by the same rule (`arbitration.py`) from the same
table (`lane_table.py`); two that decide at the same moment may begin one call too many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from engine.pkcs11.arbiter import ArbiterStatistics
from engine.pkcs11.arbitration import (
    BEGUN,
    CEILING,
    IN_FLIGHT,
    LIVE_P99,
    SEEN,
    SERVICE,
    SERVICE_AT,
    SINCE,
    WANTS,
    at,
    in_flight,
    next_ceiling,
    turns,
    used,
)
from engine.pkcs11.durations import WindowedDurations
from engine.pkcs11.lane_table import monotonic
from engine.pkcs11.lanes import BULK, SHARED_HOLD, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.pkcs11.arbiter import Want
    from engine.pkcs11.lane_table import LaneTable
    from engine.pkcs11.lanes import LaneRules

LOOK_SECONDS = 0.25
"""Between two looks at the table when nobody wakes this process: how late a dead process's share comes back. A guess:
four times a second costs nothing."""

CEILING_SECONDS = 0.5
"""Between two changes of the ceiling of bulk lanes: long enough for some tens of live answers under the new one."""

LIVE_WINDOW = 1.0
"""Seconds: the live lane's p99 is that of the last one or two."""

GRACE = 0.005
"""Seconds for which a free place is kept for another process that was woken; one that did not look meanwhile does not
count until it does. A guess: a hundred times what waking takes, and less than a call to a network HSM."""

ALONE_HOLD = 0.2
"""Seconds for which a session is held at most while nobody else has work. A guess: what the first urgent message after
a silence waits for the slowest of the sessions."""

_AT_WORK = 0.001
"""Seconds used of late by which a lane counts as at work: a chunk of 20 ms does for four seconds."""


class SharedArbiter:
    """Shares the token with every process that uses the same table.

    Args:
        table: this pool's place in it.
        rules: what each lane is worth.
        parallel: calls that may be in flight as configured; None = as many as there are sessions.
        live_objective: seconds that 99 of 100 live answers should take to be signed.
        clock: tells the time that the processes share.
    """

    def __init__(
        self,
        table: LaneTable,
        rules: LaneRules,
        *,
        parallel: int | None,
        live_objective: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._table = table
        self._rules = rules
        self._parallel = parallel
        self._objective = live_objective
        self._clock = clock
        self._notified: list[Callable[[], None]] = []
        self._published: dict[Lane, int] = {}
        self._others_at_work = False
        self._passed_over: dict[
            int, float
        ] = {}  # slots that did not take their turn, with when they last looked
        self._kept_for: dict[int, float] = {}  # slots for whom a free place is kept now
        self._kept_until = math.inf
        self._live = WindowedDurations(clock(), LIVE_WINDOW)
        self._full = 0
        self._ceiling_changed = clock()
        self._looked_around = clock()
        self._scope = trio.CancelScope()
        self._closed = False
        table.set(SEEN, clock())

    # ---- questions of the pool ----

    def choose(self, wants: Mapping[Lane, Want]) -> Lane | None:
        """See `Arbiter`."""
        if self._closed:
            return None
        now = self._clock()
        self._publish(wants, now)
        parallel, ceiling = self._limits()
        if parallel == ceiling == math.inf:
            return self._choose_alone(wants, now)
        rows = self._table.rows(now)
        self._forget_passed_over(rows)
        ahead: dict[int, float] = {}
        for slot, lane in turns(rows, parallel, ceiling, self._rules, now):
            if slot == self._table.slot:
                return lane
            ahead[slot] = rows[slot][SEEN]
        self._let_pass(ahead, bool(wants), now)
        return None

    def _choose_alone(self, wants: Mapping[Lane, Want], now: float) -> Lane | None:
        """Nobody's place can be taken: the lanes of this process compete for its sessions only."""
        if len(wants) < 2:
            return next(iter(wants), None)
        own = {self._table.slot: self._table.own_row()}
        return next((lane for _, lane in turns(own, math.inf, math.inf, self._rules, now)), None)

    def _publish(self, wants: Mapping[Lane, Want], now: float) -> None:
        table = self._table
        table.set(SEEN, now)
        for lane in self._published.keys() - wants.keys():
            table.set(at(lane, WANTS), 0.0)
        for lane, want in wants.items():
            table.set(at(lane, SINCE), now - want.waited)
            table.set(at(lane, WANTS), float(want.sessions))
        self._published = {lane: want.sessions for lane, want in wants.items()}

    def _limits(self) -> tuple[float, float]:
        ceilings = [ceiling for ceiling in self._table.column(CEILING) if ceiling]
        parallel = self._table.parallel or self._parallel
        return (math.inf if parallel is None else parallel), min(ceilings, default=math.inf)

    def _forget_passed_over(self, rows: Mapping[int, list[float]]) -> None:
        """Those who looked again count again; the others' wants do not."""
        for slot, seen in list(self._passed_over.items()):
            if slot not in rows or rows[slot][SEEN] != seen:
                del self._passed_over[slot]
            else:
                for lane in Lane:
                    rows[slot][at(lane, WANTS)] = 0.0

    def _let_pass(self, ahead: Mapping[int, float], wanting: bool, now: float) -> None:
        """Wake those whose turn it is. If this process wants a place too, it waits a moment only."""
        for slot, seen in ahead.items():
            if self._kept_for.get(slot) != seen:
                self._table.wake(slot)
        self._kept_for = dict(ahead)
        if ahead and wanting and self._kept_until == math.inf:
            self._kept_until = now + GRACE
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + GRACE)

    def longest_hold(self, lane: Lane) -> float:
        """See `Arbiter`."""
        now = self._clock()
        shared = self._others_at_work or any(
            used(self._table.own_row(), other, now) > _AT_WORK for other in Lane if other != lane
        )
        return SHARED_HOLD if shared else ALONE_HOLD

    # ---- what the pool tells ----

    def begun(self, lane: Lane, expected: float) -> None:
        """See `Arbiter`."""
        now = self._clock()
        self._count(lane, 1, expected, now)
        self._table.set(at(lane, BEGUN), now)

    def ended(self, lane: Lane, expected: float, held: float, latency: float) -> None:
        """See `Arbiter`."""
        if self._closed:
            return
        now = self._clock()
        self._count(lane, -1, held - expected, now)
        if lane is Lane.LIVE:
            self._live.add([round(latency * 1e9)], now)

    def _count(self, lane: Lane, calls: int, seconds: float, now: float) -> None:
        table = self._table
        before = used(table.own_row(), lane, now)
        table.set(at(lane, IN_FLIGHT), table.get(at(lane, IN_FLIGHT)) + calls)
        table.set(at(lane, SERVICE), max(0.0, before + seconds))
        table.set(at(lane, SERVICE_AT), now)

    def when_changed(self, notify: Callable[[], None]) -> None:
        """See `Arbiter`."""
        self._notified.append(notify)

    def statistics(self) -> ArbiterStatistics:
        """See `Arbiter`."""
        rows = self._table.rows(self._clock())
        parallel, ceiling = self._limits()
        return ArbiterStatistics(
            parallel=None if parallel == math.inf else int(parallel),
            bulk_ceiling=None if ceiling == math.inf else int(ceiling),
            live_p99=max((row[LIVE_P99] for row in rows.values()), default=0.0) or None,
            processes=len(rows),
            in_flight=in_flight(rows),
        )

    # ---- from time to time ----

    async def run(self) -> None:
        """See `Arbiter`. Cancelled, it leaves the row as it stands; `close` gives it back."""
        while True:
            with trio.CancelScope(deadline=trio.current_time() + LOOK_SECONDS) as self._scope:
                await trio.lowlevel.wait_readable(self._table.wake_descriptor)
                self._table.take_wakes()
            self.look()

    def look(self) -> None:
        """Look at the table, and let the pool begin what it may."""
        now = self._clock()
        self._table.set(SEEN, now)
        rows = self._table.rows(now)
        if now >= self._kept_until:
            waited_for = {slot: seen for slot, seen in self._kept_for.items() if slot in rows}
            self._passed_over.update(
                {slot: seen for slot, seen in waited_for.items() if rows[slot][SEEN] == seen}
            )
            self._kept_until = math.inf
        if now - self._looked_around >= LOOK_SECONDS:
            self._looked_around = now
            self._look_around(rows, now)
        for notify in self._notified:
            notify()

    def _look_around(self, rows: Mapping[int, list[float]], now: float) -> None:
        self._table.sweep()
        self._others_at_work = self._limits() != (math.inf, math.inf) and any(
            row[at(lane, WANTS)] or row[at(lane, IN_FLIGHT)] or used(row, lane, now) > _AT_WORK
            for slot, row in rows.items()
            if slot != self._table.slot
            for lane in Lane
        )
        p99 = self._live.recent(now)[1].percentile_99_ns / 1e9
        if Lane.LIVE in self._published:
            p99 = max(p99, now - self._table.get(at(Lane.LIVE, SINCE)))
        self._table.set(LIVE_P99, p99)
        if now - self._ceiling_changed >= CEILING_SECONDS:
            self._ceiling_changed = now
            self._change_ceiling(p99, in_flight(rows, BULK), now)

    def _change_ceiling(self, p99: float, bulk_in_flight: int, now: float) -> None:
        """Ask the bulk lanes of all processes to give way to the live lane of this one, or to come back."""
        before = self._table.get(CEILING) or math.inf
        ceiling = next_ceiling(before, self._full, bulk_in_flight, p99, self._objective)
        if before == math.inf:
            self._full = bulk_in_flight
        if ceiling < before:  # what came before says nothing about what this does
            self._live = WindowedDurations(now, LIVE_WINDOW)
        self._table.set(CEILING, 0.0 if ceiling == math.inf else float(ceiling))

    def close(self) -> None:
        """Give the row back. What still comes back from sessions is not counted."""
        self._closed = True
        self._table.close()
