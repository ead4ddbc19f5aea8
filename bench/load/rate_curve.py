"""The rate of arrivals over time: pieces in which it is constant or changes steadily.

What a scenario spells as constant, ramp, steps or burst becomes such pieces. The integral of the rate says how many
arrivals there are until a moment; its inverse says when an arrival is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Piece(NamedTuple):
    """A part of the curve: the rate goes from `first` to `last` (arrivals a second) in so many seconds."""

    seconds: float
    first: float
    last: float

    @property
    def arrivals(self) -> float:
        """How many arrivals are expected in it."""
        return self.seconds * (self.first + self.last) / 2


class RateCurve:
    """A rate over time.

    Args:
        pieces: at least one, of positive length and rates that are not negative.

    Attributes:
        seconds: how long it lasts.
        arrivals: how many are expected in all.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._lengths, self._first, self._last = (
            np.array(column, dtype=np.float64) for column in zip(*pieces, strict=True)
        )
        self._ends = np.cumsum(self._lengths)
        self._until = np.cumsum([piece.arrivals for piece in pieces])
        self.seconds = float(self._ends[-1])
        self.arrivals = float(self._until[-1])

    def moments(self, counts: Numbers) -> Numbers:
        """Return the moments at which so many arrivals are expected to have come.

        Args:
            counts: each from 0 up to, but not including, `arrivals`.
        """
        place = np.searchsorted(self._until, counts, side="right")
        before = np.concatenate(([0.0], self._until))[place]
        first, last, length = self._first[place], self._last[place], self._lengths[place]
        wanted = counts - before
        # first t + (last - first) t^2 / (2 length) = wanted, in the form that also holds where the rate stands still
        root = np.sqrt(first**2 + 2 * (last - first) * wanted / length)
        spent = np.divide(2 * wanted, first + root, out=np.zeros_like(wanted), where=first + root > 0)
        moments: Numbers = self._ends[place] - length + np.minimum(spent, length)
        return moments
