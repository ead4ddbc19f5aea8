"""Whose turn it is: decided from what every process says of itself, by functions of nothing else.

A place is a call in flight. As long as there is a free one it goes

1. to a lane that has waited beyond its deadline and was not served meanwhile, the one first whose deadline came first;
2. else to the lane that has used least for its weight, of late; where two used the same, to the foremost;

and within the lane to the process that has used least in it. Bulk lanes together stay below their ceiling.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine.pkcs11.lanes import BULK, SHARED_HOLD, Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from engine.pkcs11.lanes import LaneRules

# A row is what one process says of itself: numbers at fixed places, as they lie in shared memory.
PID, SEEN, CEILING, LIVE_P99 = range(4)
"""Who it is; when it last looked; how many calls of bulk lanes it asks for at most (0 = it does not); seconds."""
FIRST_LANE = 4
LANE_FIELDS = 6
IN_FLIGHT, WANTS, SINCE, BEGUN, SERVICE, SERVICE_AT = range(LANE_FIELDS)
"""Of each lane: sessions that have a chunk in hand; sessions that could begin one; since when the foremost waits; when
the last one began; seconds of sessions used of late, as of SERVICE_AT. Times are of CLOCK_MONOTONIC, which all
processes of a host share."""
ROW = FIRST_LANE + LANE_FIELDS * len(Lane)

HALF_LIFE = 1.0
"""Seconds after which half of what a lane has used is forgotten. A guess: some ten chunks of 20 ms on each session."""


def at(lane: int, field: int) -> int:
    """Return the place of a lane's field in a row."""
    return FIRST_LANE + LANE_FIELDS * lane + field


def used(row: Sequence[float], lane: int, now: float) -> float:
    """Return the seconds of sessions that a process used in a lane, those long ago forgotten by half-lives."""
    start = FIRST_LANE + LANE_FIELDS * lane
    service = row[start + SERVICE]
    return service * 2.0 ** ((row[start + SERVICE_AT] - now) / HALF_LIFE) if service else 0.0


def in_flight(rows: Mapping[int, Sequence[float]], lanes: Iterable[Lane] = tuple(Lane)) -> int:
    """Return how many calls of these lanes all processes have in flight."""
    places = [at(lane, IN_FLIGHT) for lane in lanes]
    return int(sum([row[place] for row in rows.values() for place in places]))


class _Waiting:
    """A lane in which somebody wants to begin: how many places each, by slot."""

    def __init__(
        self,
        lane: Lane,
        wants: dict[int, float],
        rows: Mapping[int, Sequence[float]],
        rules: LaneRules,
        now: float,
    ) -> None:
        start = FIRST_LANE + LANE_FIELDS * lane
        self.lane = lane
        self._weight = rules.weights[lane]
        self._now = now
        self._wants = wants
        self._used = {slot: used(row, lane, now) for slot, row in rows.items()}
        self._all_used = sum(self._used.values())
        since = min([rows[slot][start + SINCE] for slot in wants])
        served = max([row[start + BEGUN] for row in rows.values()])
        self._due = max(since, served) + rules.deadlines[lane]

    def __bool__(self) -> bool:
        return bool(self._wants)

    @property
    def order(self) -> tuple[bool, float, int]:
        """The smallest goes first."""
        overdue = self._due <= self._now
        return not overdue, self._due if overdue else self._all_used / self._weight, self.lane

    def give(self) -> int:
        """Give a place to the process that has used least, and return its slot."""
        slot = min(self._wants, key=lambda slot: (self._used[slot], slot))
        self._wants[slot] -= 1
        if self._wants[slot] < 1:
            del self._wants[slot]
        self._used[slot] += SHARED_HOLD
        self._all_used += SHARED_HOLD
        self._due = math.inf  # served
        return slot


def turns(
    rows: Mapping[int, Sequence[float]], parallel: float, ceiling: float, rules: LaneRules, now: float
) -> Iterator[tuple[int, Lane]]:
    """Yield who may begin now, slot and lane, one for each free place, until nobody wants one.

    Args:
        rows: what every process says of itself, by slot.
        parallel: places in all; infinite where nobody knows.
        ceiling: places that bulk lanes may have together.
        rules: what each lane is worth.
        now: the time of CLOCK_MONOTONIC in seconds.
    """
    free = parallel - in_flight(rows) if parallel < math.inf else math.inf
    bulk_free = ceiling - in_flight(rows, BULK) if ceiling < math.inf else math.inf
    if free < 1:  # said before anything is made: asked before every chunk, this is what it mostly comes to
        return
    lanes = []
    for lane in Lane:
        place = at(lane, WANTS)
        wants = {slot: row[place] for slot, row in rows.items() if row[place] >= 1}
        if wants:
            lanes.append(_Waiting(lane, wants, rows, rules, now))
    while free >= 1:
        ready = [waiting for waiting in lanes if waiting and (bulk_free >= 1 or waiting.lane not in BULK)]
        if not ready:
            return
        chosen = min(ready, key=lambda waiting: waiting.order)
        free -= 1
        bulk_free -= chosen.lane in BULK
        yield chosen.give(), chosen.lane


def next_ceiling(ceiling: float, full: int, bulk_in_flight: int, p99: float, objective: float) -> float:
    """Return how many calls bulk lanes may have in flight from now on; infinite = as many as they want.

    While live answers take too long it is halved, from what is really in flight; while they are well within their
    objective it grows by one; it goes when it has grown to what there was before.

    Args:
        ceiling: the present one.
        full: calls of bulk lanes in flight when it came.
        bulk_in_flight: calls of bulk lanes in flight now.
        p99: seconds that 99 of 100 live answers took at most, of late; 0 = there were none.
        objective: what they should take.
    """
    if p99 > objective and (bulk_in_flight or ceiling < math.inf):
        return max(1, min(ceiling, bulk_in_flight) // 2)
    if p99 < WELL_WITHIN * objective and ceiling < math.inf:
        return ceiling + 1 if ceiling + 1 < full else math.inf
    return ceiling


WELL_WITHIN = 0.8
"""Below this share of the objective bulk lanes get more again; between the two nothing changes. A guess."""
