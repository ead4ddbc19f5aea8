"""Dates as HTTP writes them (RFC 9110 section 5.6.7), each made once and remembered."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from time import time

from engine.clock import Clock, SystemClock


@lru_cache(maxsize=4096)  # a guess: the seconds that the answers of a minute name, many times over
def http_date(epoch: int) -> bytes:
    """Return a time in epoch seconds as an IMF-fixdate."""
    return formatdate(epoch, usegmt=True).encode()


def epoch_of(date: str) -> int | None:
    """Return the epoch seconds of an HTTP date in any of its three forms; None where it is no date.

    A date that cannot be read counts as none given (RFC 9110 section 13.1.3).
    """
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None


def whole_seconds(clock: Clock) -> Callable[[], int]:
    """Return what tells a clock's time in whole seconds since the epoch; the system's without a datetime in between.

    The listener asks for every request, and the way over a datetime takes seven times as long (bench.ocsp).
    """
    if isinstance(clock, SystemClock):
        return lambda: int(time())
    return lambda: int(clock.now().timestamp())
