"""OCSP answers a second and how long they took, out of the histograms of all processes that answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.control.client import RunningProcess
from engine.metrics.catalogue import OCSP_REQUEST_DURATION
from responders.operator.views import OcspView

Families = Sequence[Mapping[str, Any]]


class OcspLook:
    """Remembers what each process had counted, and tells what came since."""

    def __init__(self) -> None:
        self._before: dict[RunningProcess, Counter[int]] | None = None
        self._at = 0.0

    def since_before(self, snapshots: Mapping[RunningProcess, Families], at: float) -> OcspView | None:
        """Return what was answered since the last call; None at the first.

        Args:
            snapshots: of the processes' metrics.
            at: seconds of a clock that is never set.
        """
        counted = {process: _buckets(families) for process, families in snapshots.items()}
        before, self._before = self._before, counted
        seconds, self._at = at - self._at, at
        if before is None or seconds <= 0:
            return None
        fresh: Counter[int] = Counter()
        for process, buckets in counted.items():
            if process in before:  # one that is new has counted for a time that is not known
                fresh += buckets - before[process]
        return OcspView(round(fresh.total() / seconds, 2), quantile_ms(fresh, 0.5), quantile_ms(fresh, 0.99))


def _buckets(families: Families) -> Counter[int]:
    """Add the buckets of all methods and outcomes up, by place."""
    total: Counter[int] = Counter()
    for family in families:
        if family["name"] == OCSP_REQUEST_DURATION.name:
            for sample in family["samples"]:
                total.update(dict(enumerate(sample["buckets"])))
    return total


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the duration, ms, that this share of the answers stayed below, straight between the bounds of its bucket.

    What lies above the last bound counts as that.
    """
    bounds = OCSP_REQUEST_DURATION.bounds
    rank = share * sum(buckets.values())
    if rank == 0:
        return None
    passed = 0
    for place, bound in enumerate(bounds):
        count = buckets.get(place, 0)
        if count and passed + count >= rank:
            lower = bounds[place - 1] if place else 0.0
            return round((lower + (bound - lower) * (rank - passed) / count) * 1_000, 4)
        passed += count
    return bounds[-1] * 1_000
