"""Certificate serial numbers: unique, unpredictable, and near each other in the database."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from engine.clock import Clock

SERIAL_OCTETS = 16
"""Of every serial (docs/decisions/0005): 128 bits, as seen in MOEACA certificates; RFC 5280 section 4.1.2.2 allows 20
octets."""

_RANDOM_OCTETS = 10  # 80 bits; at least 64 are asked for
_PREFIX_OCTETS = SERIAL_OCTETS - _RANDOM_OCTETS
_TOP_BITS = 0b01 << (
    8 * _PREFIX_OCTETS - 2
)  # positive, and never a leading zero octet: always 16 octets of content
_TIME_LIMIT = 1 << (8 * _PREFIX_OCTETS - 2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class SerialNumbers:
    """Makes serial numbers: two bits 01, 46 bits of milliseconds since 1970, 80 random bits.

    The time in front keeps inserts into the index at its right-hand edge, so that the cost of a certificate does not
    grow with their number; unpredictability comes from the random bits alone, uniqueness from the database.

    Args:
        clock: tells the time.
        random: returns so many random octets; replaced only in tests.
    """

    def __init__(self, clock: Clock, random: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random = random

    def take(self, count: int) -> list[bytes]:
        """Return `count` serial numbers of 16 octets, from one call for randomness."""
        milliseconds = (self._clock.now() - _EPOCH) // _MILLISECOND
        prefix = (_TOP_BITS | milliseconds % _TIME_LIMIT).to_bytes(_PREFIX_OCTETS, "big")
        octets = self._random(count * _RANDOM_OCTETS)
        return [
            prefix + octets[start : start + _RANDOM_OCTETS]
            for start in range(0, count * _RANDOM_OCTETS, _RANDOM_OCTETS)
        ]


def time_of(serial: bytes) -> datetime:
    """Return when a serial number was made, to the millisecond, UTC."""
    milliseconds = int.from_bytes(serial[:_PREFIX_OCTETS], "big") ^ _TOP_BITS
    return _EPOCH + milliseconds * _MILLISECOND
