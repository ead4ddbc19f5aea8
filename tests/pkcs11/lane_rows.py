"""Rows of the lane table made by hand."""

from __future__ import annotations

from engine.pkcs11.arbitration import BEGUN, IN_FLIGHT, ROW, SERVICE, SERVICE_AT, SINCE, WANTS, at
from engine.pkcs11.lanes import Lane

NOW = 1000.0


class Row(list[float]):
    """What one process says of itself at NOW; each call adds what it says of a lane."""

    def __init__(self) -> None:
        super().__init__([0.0] * ROW)

    def lane(
        self,
        lane: Lane,
        *,
        wants: int = 0,
        waited: float = 0.0,
        in_flight: int = 0,
        used: float = 0.0,
        served: float | None = None,
    ) -> Row:
        """Want so many places since so many seconds; have used so many of late; have begun so many seconds ago."""
        self[at(lane, WANTS)] = wants
        self[at(lane, SINCE)] = NOW - waited
        self[at(lane, IN_FLIGHT)] = in_flight
        self[at(lane, SERVICE)] = used
        self[at(lane, SERVICE_AT)] = NOW
        if served is not None:
            self[at(lane, BEGUN)] = NOW - served
        return self
