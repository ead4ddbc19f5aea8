"""Times counted in buckets whose width is a fixed share of their value, as HdrHistogram does it.

A bucket's number is the exponent of the value in microseconds with seven bits behind it, so a percentile is at most
1/128 too high; histograms of many processes and seconds are added by adding counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_BITS = 7
"""Behind the leading one. A guess: 0.8 per cent is less than one measurement differs from the next."""

_EXACT = 1 << (_BITS + 1)
"""Microseconds below which every value has a bucket of its own."""


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket of a time; a negative time counts as none."""
    value = max(0, round(seconds * 1e6))
    shift = max(0, value.bit_length() - _BITS - 1)
    return (shift << _BITS) + (value >> shift)


def upper_seconds(bucket: int) -> float:
    """Return the longest time that is counted in a bucket."""
    if bucket < _EXACT:
        return bucket / 1e6
    shift = (bucket >> _BITS) - 1
    mantissa = bucket - (shift << _BITS)
    return (((mantissa + 1) << shift) - 1) / 1e6


class Histogram:
    """Counts of times.

    Args:
        counts: by bucket, from `as_counts` of another.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = Counter({int(bucket): count for bucket, count in (counts or {}).items()})

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, seconds: float) -> None:
        """Count a time."""
        self._counts[bucket_of(seconds)] += 1

    def percentile(self, share: float) -> float | None:
        """Return the time that a share of all times does not exceed, in seconds; None while there is none."""
        wanted = math.ceil(share * len(self)) or 1
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return upper_seconds(bucket)
        return None

    def within(self, seconds: float) -> int:
        """Return how many times are not longer than one, as far as buckets tell: none that is longer is counted."""
        return sum(count for bucket, count in self._counts.items() if upper_seconds(bucket) <= seconds)

    def as_counts(self) -> dict[str, int]:
        """Return the counts by bucket, for JSON."""
        return {str(bucket): count for bucket, count in sorted(self._counts.items())}

    @classmethod
    def sum_of(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Add histograms."""
        total = cls()
        for one in histograms:
            total._counts.update(one._counts)
        return total
