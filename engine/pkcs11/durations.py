"""Durations counted in buckets: percentiles since the beginning and of the recent seconds, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW_SECONDS = 10.0
"""A recent figure covers between one and two of these: long enough for a 99th percentile at 100 a second, short
enough for somebody who watches."""


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
        at = self.percentile_ns
        buckets = {_upper_end(bucket): count for bucket, count in self._buckets.items()}
        return DurationSummary(self.count, self.total_ns, self.longest_ns, at(50), at(95), at(99), buckets)


def _bucket(duration: int) -> int:
    exponent = max(duration.bit_length() - 3, 0)
    return exponent * 4 + (duration >> exponent)


def _upper_end(bucket: int) -> int:
    exponent = max((bucket - 4) // 4, 0)
    return ((bucket - exponent * 4 + 1) << exponent) - 1


@dataclass(frozen=True)
class DurationSummary:
    """How many durations, their sum, the longest, the median, the 95th and 99th percentile, in nanoseconds.

    `buckets` has how many there were by the upper end of their bucket.
    """

    count: int
    total_ns: int
    longest_ns: int
    median_ns: int
    percentile_95_ns: int
    percentile_99_ns: int
    buckets: Mapping[int, int] = field(default_factory=dict)


class WindowedDurations:
    """Durations since the beginning, of which those of the recent seconds can be told apart.

    A duration is counted once, in the present window; windows that have passed are merged into what came before.

    Args:
        now: the time in seconds, of any clock that only grows.
        window: seconds.
    """

    def __init__(self, now: float, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._before = Durations()
        self._last = Durations()
        self._present = Durations()
        self._last_began = self._present_began = now

    def add(self, nanoseconds: Iterable[int], now: float) -> None:
        """Count these durations as of now."""
        if now - self._present_began >= self._window:
            self._turn(now)
        self._present.add(nanoseconds)

    def _turn(self, now: float) -> None:
        """Begin a window; after a long silence the one that ended is not recent either."""
        self._before.merge(self._last)
        self._last, self._last_began = self._present, self._present_began
        self._present, self._present_began = Durations(), now
        if now - self._last_began >= 2 * self._window:
            self._before.merge(self._last)
            self._last, self._last_began = Durations(), now - self._window

    def summary(self) -> DurationSummary:
        """Return the numbers since the beginning."""
        return self._sum(self._before, self._last, self._present).summary()

    def recent(self, now: float) -> tuple[float, DurationSummary]:
        """Return the numbers of the recent seconds, and how many seconds these are: up to two windows."""
        if now - self._present_began >= self._window:
            self._turn(now)
        return now - self._last_began, self._sum(self._last, self._present).summary()

    @staticmethod
    def _sum(*parts: Durations) -> Durations:
        whole = Durations()
        for part in parts:
            whole.merge(part)
        return whole
