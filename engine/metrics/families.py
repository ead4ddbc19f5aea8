"""What a metric is before anything is counted: its name, kind, meaning and labels, by the conventions of Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How the numbers of a family behave, by the names of the exposition format."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric and its labels.

    Attributes:
        name: as it is served; in base units, a counter ending in `_total`.
        kind: what may be done with its numbers.
        help: what it means, one sentence.
        processes: the kinds of processes that serve it; `operator` also serves what the record says of the host.
        labels: the names of its labels; on the page `process` comes before them where several processes serve it.
        bounds: of a histogram's buckets, ascending, without the infinite one.
    """

    name: str
    kind: Kind
    help: str
    processes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
