"""The last 15 minutes of what the charts show, in memory."""

from __future__ import annotations

from collections import deque

from engine.pkcs11.lanes import Lane
from responders.operator.views import State

LOOK_SECONDS = 2.0
"""Between two looks at everything. A guess: a person sees no more, and the processes have other things to do."""

KEPT_SECONDS = 15 * 60
"""What the charts show. Longer is for monitoring."""

POINTS = int(KEPT_SECONDS / LOOK_SECONDS)

WAIT = "wait-"
COLUMNS = ("at", "issued", "ocsp-rate", "ocsp-p50", "ocsp-p99", *(WAIT + lane.label for lane in Lane))
"""Of a point: when, seconds since the epoch; certificates a second; OCSP answers a second; their durations and the p99
of each lane's wait, ms."""

Point = list[float | None]


class Ring:
    """Points, the oldest first; a new one pushes the oldest out."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)

    def add(self, state: State) -> Point:
        """Add what the charts show of a state, and return it."""
        point = point_of(state)
        self._points.append(point)
        return point

    def points(self) -> list[Point]:
        """Return all points."""
        return list(self._points)


def point_of(state: State) -> Point:
    """Return what the charts show of a state, in the order of `COLUMNS`."""
    rates = [] if state.record is None else [run.rate for run in state.record.runs if run.rate is not None]
    ocsp = state.ocsp
    waits = {lane.lane: lane.p99_ms for lane in state.lanes}
    return [
        round(state.now, 1),
        round(sum(rates), 2) if rates else None,
        *((None, None, None) if ocsp is None else (ocsp.per_second, ocsp.p50_ms, ocsp.p99_ms)),
        *(waits.get(lane.label) for lane in Lane),
    ]
