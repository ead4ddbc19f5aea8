"""Who is asked about how often: a few often, most hardly ever (Zipf)."""

from __future__ import annotations

import numpy as np


class Popularity:
    """A Zipf distribution: the one of rank r is asked about in proportion to 1 / r ** exponent.

    Args:
        count: how many there are; at least one.
        exponent: 0 = all alike; around 1 for what many people look up.
        seed: which of them has which rank.
    """

    def __init__(self, count: int, exponent: float, seed: int) -> None:
        weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
        self._until = np.cumsum(weights) / weights.sum()
        self._order = np.random.default_rng(seed).permutation(count)

    def index(self, draw: float) -> int:
        """Return which one a number in [0, 1) picks."""
        rank = int(np.searchsorted(self._until, draw, side="right"))
        return int(self._order[min(rank, len(self._order) - 1)])
