"""When each arrival is due, and what it asks: fixed before the first is sent, by the scenario and its seed.

That is what makes the load an open loop: nothing the server does moves an arrival. Every process works out the whole
schedule and takes its share of it, so it is the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.load.rate_curve import Numbers, RateCurve

Spacing = Literal["poisson", "even"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Arrivals in the order in which they are due; the arrays are of one length.

    Attributes:
        due: seconds since the beginning.
        kinds: index of the kind.
        draws: a number in [0, 1) of each arrival, with which its kind picks whom it asks about.
        verified: whether the answer is verified.
    """

    due: Numbers
    kinds: NDArray[np.int64]
    draws: Numbers
    verified: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.due)

    def share(self, index: int, count: int) -> Schedule:
        """Return every arrival whose turn it is for process `index` of `count`."""
        mine = slice(index, None, count)
        return Schedule(self.due[mine], self.kinds[mine], self.draws[mine], self.verified[mine])


def make_schedule(
    curve: RateCurve, weights: Sequence[float], *, spacing: Spacing, verify: float, seed: int
) -> Schedule:
    """Make a schedule.

    Args:
        curve: the rate.
        weights: how often each kind is asked, against the others.
        spacing: `poisson`: as from many who do not know of each other; `even`: a steady beat.
        verify: the share of answers that is verified.
        seed: the same seed makes the same schedule.
    """
    randomness = np.random.default_rng(seed)
    due = curve.moments(_counts(curve.arrivals, spacing, randomness))
    number = len(due)
    shares = np.cumsum(weights) / np.sum(weights)
    kinds = np.searchsorted(shares, randomness.random(number), side="right")
    return Schedule(due, kinds, randomness.random(number), randomness.random(number) < verify)


def _counts(arrivals: float, spacing: Spacing, randomness: np.random.Generator) -> Numbers:
    """Where on the scale of expected arrivals the real ones lie: a Poisson process there is one of rate 1."""
    if spacing == "even":
        return np.arange(0.5, arrivals)
    enough = int(arrivals + 8 * arrivals**0.5) + 16  # eight standard deviations more than expected
    counts: Numbers = np.cumsum(randomness.exponential(size=enough))
    return counts[counts < arrivals]
