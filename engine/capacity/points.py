"""What a sweep measures: a shape of processes, sessions and batch, and what the token did with it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Shape(NamedTuple):
    """A way to use the token.

    Attributes:
        workers: processes.
        sessions: of all of them together.
        batch: messages that a session is handed at once.
    """

    workers: int
    sessions: int
    batch: int

    def of_each_worker(self) -> list[int]:
        """Return the sessions of each process: they differ by one at most."""
        each, more = divmod(self.sessions, self.workers)
        return [each + (number < more) for number in range(self.workers)]


def shape(workers: int, sessions: int, batch: int) -> Shape:
    """Return a shape in which every process has a session: fewer processes where there are fewer sessions."""
    return Shape(min(workers, sessions), sessions, batch)


@dataclass(frozen=True, slots=True)
class Latency:
    """A duration in milliseconds: its mean, exact, and percentiles, exact to a fifth (`engine.pkcs11.durations`)."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Slice:
    """One uninterrupted measurement of a shape.

    Attributes:
        round: slices of one round were measured one after the other, and may be compared.
        seconds: how long.
        per_second: signatures.
        call: how long the token took for a signature.
        wait: how long messages waited for a session. There always was another chunk waiting for each session.
        cpu_microseconds: CPU time of the processes for a signature.
    """

    round: int
    seconds: float
    per_second: float
    call: Latency
    wait: Latency
    cpu_microseconds: float


@dataclass(slots=True)
class Point:
    """A shape with its slices; what it says is the median over them, so that a disturbed one does not count."""

    shape: Shape
    slices: list[Slice] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Signatures a second."""
        return statistics.median(one.per_second for one in self.slices)

    @property
    def spread(self) -> float:
        """The largest less the smallest slice, as a share of the median."""
        rates = [one.per_second for one in self.slices]
        return (max(rates) - min(rates)) / self.per_second

    @property
    def cpu_microseconds(self) -> float:
        """CPU time of the processes for a signature."""
        return statistics.median(one.cpu_microseconds for one in self.slices)

    @property
    def call(self) -> Latency:
        """How long the token took for a signature."""
        return _median(one.call for one in self.slices)

    @property
    def wait(self) -> Latency:
        """How long messages waited for a session."""
        return _median(one.wait for one in self.slices)


Points = Mapping[Shape, Point]


def relative_to(point: Point, reference: Point) -> float:
    """Return a point's rate over that of another: see `compared`."""
    return compared(point, reference)[0]


def compared(point: Point, reference: Point) -> tuple[float, float]:
    """Return a point's rate over that of another, and the standard error of that ratio.

    The ratio is the median over the rounds in which both were measured: what else the host did in a round met both, so
    it cancels out. Without a common round it is the ratio of the medians, and the error is not known: infinite.
    """
    of_reference = {one.round: one.per_second for one in reference.slices}
    ratios = [one.per_second / of_reference[one.round] for one in point.slices if one.round in of_reference]
    if not ratios:
        return point.per_second / reference.per_second, math.inf
    middle = statistics.median(ratios)
    deviation = _OF_NORMAL * statistics.median(abs(ratio - middle) for ratio in ratios)
    return middle, _OF_MEDIAN * deviation / math.sqrt(len(ratios))


_OF_NORMAL = 1.4826
"""Standard deviation over median absolute deviation, of a normal distribution."""

_OF_MEDIAN = 1.2533
"""Standard error of the median over that of the mean, of a normal distribution: the root of half pi."""


def _median(latencies: Iterable[Latency]) -> Latency:
    every = list(latencies)
    return Latency(
        statistics.median(one.mean_ms for one in every),
        statistics.median(one.p50_ms for one in every),
        statistics.median(one.p95_ms for one in every),
        statistics.median(one.p99_ms for one in every),
    )
