"""Measuring shapes in rounds, so that a noisy host does not bend the curve.

In a round every shape has one slice, in alternating order from round to round; a point is the median of its slices.
So a slow minute of the host meets every shape, and a drift meets those measured first and last alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from engine.capacity.points import Point, Shape, Slice

MeasureSlice = Callable[[Shape, int], Awaitable[Slice]]
"""Measures one slice of a shape, in the round of this number."""


class Rounds:
    """Measures, and keeps what was measured.

    Args:
        measure: measures one slice.
        measured: told after every slice what was measured.
    """

    def __init__(self, measure: MeasureSlice, measured: Callable[[Shape, Slice], None]) -> None:
        self._measure = measure
        self._measured = measured
        self._rounds = 0
        self.points: dict[Shape, Point] = {}

    async def measure(self, shapes: Sequence[Shape], rounds: int) -> None:
        """Give every shape so many slices more. If cancelled, or on an error, finished slices are kept."""
        for number in range(rounds):
            self._rounds += 1
            for shape in shapes if number % 2 == 0 else reversed(shapes):
                one = await self._measure(shape, self._rounds)
                self.points.setdefault(shape, Point(shape)).slices.append(one)
                self._measured(shape, one)
