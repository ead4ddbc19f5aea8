"""A token that is a formula: what a search finds on it is known beforehand."""

from __future__ import annotations

import random
from collections.abc import Callable

from engine.capacity.points import Latency, Shape, Slice
from engine.capacity.rounds import Rounds


def simulated(
    rate: Callable[[Shape], float],
    *,
    call_ms: float = 0.1,
    noise: float = 0.0,
    drift: float = 0.0,
    seed: int = 1,
) -> Rounds:
    """Rounds on a token whose signatures a second are a function of the shape.

    Args:
        rate: signatures a second.
        call_ms: how long a call takes.
        noise: relative standard deviation of a slice.
        drift: by what share the host becomes slower from one round to the next, again and again.
        seed: of the noise.
    """
    drawn = random.Random(seed)

    async def measure(shape: Shape, round_number: int) -> Slice:
        slow = 1 / (1 + drift * (round_number % 7))
        per_second = rate(shape) * slow * max(0.1, drawn.gauss(1, noise))
        latency = Latency(call_ms, call_ms, call_ms, call_ms)
        return Slice(round_number, 0.1, per_second, latency, latency, 1.0)

    return Rounds(measure, lambda _shape, _slice: None)


def capped(places: int, call_ms: float = 10.0) -> Callable[[Shape], float]:
    """A token that works on so many calls at once."""
    return lambda shape: min(shape.sessions, places) / call_ms * 1e3
