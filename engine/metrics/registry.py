"""The numbers of one process: counted in plain integers, read as a whole.

A count costs what an addition costs and a duration what a bisection costs (bench.metrics), for a process that answers
has no more to give. Nothing here is shared between processes: whoever reads asks each process for its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from engine.metrics.families import Family, Kind


class Counter:
    """A number that only grows. One thread counts; any may read."""

    __slots__ = ("value",)

    def __init__(self, family: Family) -> None:
        self.value: float = 0

    def add(self, count: float = 1) -> None:
        """Count so many more."""
        self.value += count

    def reach(self, total: float) -> None:
        """Take over a total that is counted elsewhere; one that is smaller than before means that it began anew."""
        self.value = total

    def sample(self) -> dict[str, Any]:
        """Return the number, for a snapshot."""
        return {"value": self.value}


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self, family: Family) -> None:
        self.value: float | None = 0

    def set(self, value: float | None) -> None:
        """Say what it is now; None: there is nothing to be said, and it is not served."""
        self.value = value

    def sample(self) -> dict[str, Any]:
        """Return the number, for a snapshot."""
        return {"value": self.value}


class Histogram:
    """Durations or sizes, counted by buckets. One thread counts; any may read."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, family: Family) -> None:
        self._bounds = family.bounds
        self.counts = [0] * (len(family.bounds) + 1)  # each for itself, the last without an upper bound
        self.sum: float = 0

    def observe(self, value: float) -> None:
        """Count a value, in the unit of the family."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def add(self, values: Mapping[float, int], total: float) -> None:
        """Count values that were counted elsewhere, by finer buckets.

        Args:
            values: how many, by the upper end of their bucket.
            total: the sum of them all.
        """
        for value, count in values.items():
            self.counts[bisect_left(self._bounds, value)] += count
        self.sum += total

    def sample(self) -> dict[str, Any]:
        """Return the buckets, for a snapshot."""
        return {"buckets": list(self.counts), "sum": self.sum, "count": sum(self.counts)}


_Series = TypeVar("_Series", Counter, Gauge, Histogram)


class Metrics:
    """What one process counts. It is handed on as an argument; there is one in a process."""

    def __init__(self) -> None:
        self._series: dict[Family, dict[tuple[str, ...], Counter | Gauge | Histogram]] = {}
        self._before_reading: list[Callable[[], None]] = []

    def counter(self, family: Family, **labels: str) -> Counter:
        """Return the counter with these labels, the same one every time; it is there, at 0, from now on.

        Raises:
            TypeError: the family is no counter.
            ValueError: these are not its labels.
        """
        return self._one(Counter, Kind.COUNTER, family, labels)

    def gauge(self, family: Family, **labels: str) -> Gauge:
        """As `counter`."""
        return self._one(Gauge, Kind.GAUGE, family, labels)

    def histogram(self, family: Family, **labels: str) -> Histogram:
        """As `counter`."""
        return self._one(Histogram, Kind.HISTOGRAM, family, labels)

    def declare(self, *families: Family) -> None:
        """Serve families of which there is no number yet, for their labels come with what happens."""
        for family in families:
            self._series.setdefault(family, {})

    def before_reading(self, callback: Callable[[], None]) -> None:
        """Call this before every snapshot, to set what is cheaper looked up than kept up to date. It must not block."""
        self._before_reading.append(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Call it no longer."""
        self._before_reading.remove(callback)

    def snapshot(self) -> list[dict[str, Any]]:
        """Return all numbers as they stand, of plain lists and dictionaries.

        Returns:
            A family each: `name` and `samples`; a sample has `labels` and either `value`, or `buckets` (each for
            itself, the last without an upper bound), `sum` and `count`.
        """
        for callback in self._before_reading:
            callback()
        return [
            {
                "name": family.name,
                "samples": [
                    {"labels": dict(zip(family.labels, values, strict=True)), **one.sample()}
                    for values, one in series.items()
                    if not isinstance(one, Gauge) or one.value is not None
                ],
            }
            for family, series in self._series.items()
        ]

    def _one(self, made: type[_Series], kind: Kind, family: Family, labels: dict[str, str]) -> _Series:
        if family.kind is not kind:
            message = f"{family.name} is a {family.kind}"
            raise TypeError(message)
        if labels.keys() != set(family.labels):
            message = f"{family.name} has the labels {family.labels}, not {tuple(labels)}"
            raise ValueError(message)
        series = self._series.setdefault(family, {})
        values = tuple(labels[name] for name in family.labels)
        one = series.get(values)
        if one is None:
            one = series[values] = made(family)
        assert isinstance(one, made)  # noqa: S101 - one kind a family
        return one
