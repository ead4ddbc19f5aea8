"""The clock for UTC in certificates and records. Waiting is measured with trio's clock, never with this one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")
"""Taipei time: UTC+8 without daylight saving since 1979 (IANA tz database), so a fixed offset is exact for
every date a certificate can carry."""


class Clock(Protocol):
    """Tells the time of day."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class SystemClock:
    """The synchronised system clock (CPS 4.6.5)."""

    def now(self) -> datetime:
        """Return the system time in UTC."""
        return datetime.now(UTC)


class SetClock:
    """A clock that stands until it is moved; for tests of rules that take months.

    Args:
        start: an aware time at which the clock stands at first.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time the clock was last set to."""
        return self._now

    def move(self, by: timedelta) -> None:
        """Move the clock by a positive or negative duration."""
        self._now += by
