"""The way through the shapes: a coarse grid, more processes if they bring something, the knee exactly, the batch.

Everything here is decided from what was measured, and nothing here touches a token, so that it is tested with curves
whose knee is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.capacity.knee import KNEE_SHARE, knee, plateau
from engine.capacity.points import Point, Shape, compared, relative_to, shape
from engine.capacity.rounds import Rounds

WORTHWHILE = 0.05
"""What a doubling must bring to go on, and another process to be used: the five percent of the knee."""

BATCH_SHARE = 0.98
"""The smallest batch with this share of the best one is taken: a larger one holds a session longer for nothing. A
guess."""

HOLD_SECONDS = 0.03
"""How long a batch may hold a session while the curve is measured: so long that handing it over to a thread does not
count, so short that a slice has many. A guess."""

LONGEST_HOLD_SECONDS = 0.25
"""Batches that hold a session longer are not measured: nobody wants urgent work to wait that long. A guess."""

MOST_REPEATS = 6
"""How often the rounds of a point beside the knee are repeated while it is in doubt. A guess: a quiet host needs
one."""

SURE = 2.0
"""Standard errors between a ratio and the 95 % at which it is believed. A guess: looked at once, one in twenty would be
wrong; looked at after every repeat, as here, some more are."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        workers: numbers of processes, ascending; a larger one is tried only while it brings something.
        max_sessions: the most sessions of all processes together.
        batches: messages handed to a session at once.
        rounds: slices of each point.
    """

    workers: tuple[int, ...]
    max_sessions: int
    batches: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        workers: the fewest processes that reach the plateau.
        knee_sessions: the fewest sessions, of all processes together, with at least 95 % of the plateau.
        plateau: signatures a second.
        still_growing: the last doubling of sessions still brought something: the plateau may be higher.
        curve_batch: the batch of the curve.
        batch: the recommended one.
        batches_not_measured: those that would hold a session too long.
    """

    workers: int
    knee_sessions: int
    plateau: float
    still_growing: bool
    curve_batch: int
    batch: int
    batches_not_measured: tuple[int, ...]


async def search(space: Space, rounds: Rounds) -> Found:
    """Find plateau, knee, processes and batch.

    Raises:
        TokenError: the token did not do what was asked; from the measuring.
    """
    batch = await _batch_of_the_curve(space, rounds)
    workers = space.workers[0]
    grid = await _coarse(space, rounds, workers, batch)
    for more in space.workers[1:]:
        if not await _brings_something(space, rounds, grid, (workers, more), batch):
            break
        workers = more
        grid = await _coarse(space, rounds, workers, batch)
    refinement = _Refinement(space, rounds, workers, batch)
    at_knee = await refinement.knee()
    best_batch, skipped = await _best_batch(space, rounds, shape(workers, at_knee, batch))
    rates = curve(rounds, workers, batch)
    return Found(
        workers=workers,
        knee_sessions=at_knee,
        plateau=plateau(rates),
        still_growing=_still_growing(rates, refinement.reference, space.max_sessions),
        curve_batch=batch,
        batch=best_batch,
        batches_not_measured=skipped,
    )


def curve(rounds: Rounds, workers: int, batch: int) -> dict[int, float]:
    """Return signatures a second by number of sessions with so many processes, as they compare with each other.

    Each rate is that of the most measured point times the ratio to it in the rounds in which both were measured: a host
    that was slow while one point was measured, and quick while another was, does not bend the curve.
    """
    points = curve_points(rounds, workers, batch)
    reference = max(points.values(), key=lambda point: (len(point.slices), point.shape.sessions))
    return {
        sessions: relative_to(point, reference) * reference.per_second for sessions, point in points.items()
    }


def curve_points(rounds: Rounds, workers: int, batch: int) -> dict[int, Point]:
    """Return the points by number of sessions, as measured with so many processes."""
    return {
        found.sessions: point
        for found, point in sorted(rounds.points.items())
        if found == shape(workers, found.sessions, batch)
    }


async def _batch_of_the_curve(space: Space, rounds: Rounds) -> int:
    """The largest batch that holds a session no longer than the lanes would."""
    probe = Shape(1, 1, min(space.batches))
    await rounds.measure([probe], 1)
    return max(_held_at_most(HOLD_SECONDS, space.batches, rounds.points[probe]) or {min(space.batches)})


def _held_at_most(seconds: float, batches: tuple[int, ...], point: Point) -> set[int]:
    return {batch for batch in batches if batch * point.call.mean_ms <= seconds * 1e3}


async def _coarse(space: Space, rounds: Rounds, workers: int, batch: int) -> list[Shape]:
    """Double the sessions until two doublings in turn bring nothing; then complete the rounds of all."""
    grid: list[Shape] = []
    sessions = 1
    while True:
        grid.append(shape(workers, sessions, batch))
        await rounds.measure(grid[-1:], 1)
        rates = [rounds.points[one].per_second for one in grid]
        if sessions == space.max_sessions:
            break
        if len(rates) > 2 and max(rates[-2:]) < rates[-3] * (1 + WORTHWHILE):
            break
        sessions = min(2 * sessions, space.max_sessions)
    await rounds.measure(grid, space.rounds - 1)
    return grid


async def _brings_something(
    space: Space, rounds: Rounds, grid: list[Shape], workers: tuple[int, int], batch: int
) -> bool:
    """Whether more processes make more of the sessions around the knee and of the most that were measured."""
    few, many = workers
    totals = sorted({knee(curve(rounds, few, batch)), grid[-1].sessions})
    pairs = [(shape(few, total, batch), shape(many, total, batch)) for total in totals if total >= many]
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    if not pairs:
        return False
    await rounds.measure([one for pair in pairs for one in pair], space.rounds)
    top = max(rounds.points[fewer].per_second for fewer, _ in pairs)
    gains = [
        relative_to(rounds.points[more], rounds.points[fewer]) * rounds.points[fewer].per_second / top
        for fewer, more in pairs
    ]
    return max(gains) > 1 + WORTHWHILE


class _Refinement:
    """Finds the knee between the points of the grid, by decisions that are sure enough for the noise there is."""

    def __init__(self, space: Space, rounds: Rounds, workers: int, batch: int) -> None:
        self._space = space
        self._rounds = rounds
        self._workers, self._batch = workers, batch
        self._grid = list(curve(rounds, workers, batch))
        self._knee_of_grid = knee(curve(rounds, workers, batch))
        self.reference = _plateau_point(rounds, workers, batch)

    async def knee(self) -> int:
        """Make sure of the points of the grid on both sides of the knee, then halve the distance between them."""
        enough = self._knee_of_grid
        while enough < self._grid[-1] and not await self._is_enough(enough):
            enough = min(number for number in self._grid if number > enough)
        too_few = self._below(enough)
        while too_few and await self._is_enough(too_few):
            enough, too_few = too_few, self._below(too_few)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if await self._is_enough(middle):
                enough = middle
            else:
                too_few = middle
        return enough

    def _below(self, sessions: int) -> int:
        return max((number for number in self._grid if number < sessions), default=0)

    async def _is_enough(self, sessions: int) -> bool:
        """Whether so many sessions make 95 % of the plateau: measured again until the noise leaves no doubt."""
        asked = shape(self._workers, sessions, self._batch)
        if asked == self.reference.shape:
            return True
        for _ in range(MOST_REPEATS):
            await self._rounds.measure([asked, self.reference.shape], self._space.rounds)
            ratio, doubt = compared(self._rounds.points[asked], self.reference)
            if abs(ratio - KNEE_SHARE) > SURE * doubt:
                break
        return ratio >= KNEE_SHARE


def _plateau_point(rounds: Rounds, workers: int, batch: int) -> Point:
    """The point that others are compared with: on the plateau, and with twice the sessions of the knee if there is one.

    Beyond that more sessions only make a slice longer.
    """
    rates = curve(rounds, workers, batch)
    on_plateau = [number for number, rate in rates.items() if rate >= KNEE_SHARE * plateau(rates)]
    beyond = [number for number in on_plateau if number >= 2 * min(on_plateau)]
    return rounds.points[shape(workers, min(beyond, default=max(on_plateau)), batch)]


async def _best_batch(space: Space, rounds: Rounds, at_knee: Shape) -> tuple[int, tuple[int, ...]]:
    """The smallest batch that is nearly as good as the best, and those not measured."""
    allowed = _held_at_most(LONGEST_HOLD_SECONDS, space.batches, rounds.points[at_knee]) | {at_knee.batch}
    shapes = [at_knee._replace(batch=batch) for batch in sorted(allowed)]
    skipped = tuple(sorted(set(space.batches) - allowed))
    if len(shapes) == 1:
        return at_knee.batch, skipped
    await rounds.measure(shapes, space.rounds)
    shares = {one.batch: relative_to(rounds.points[one], rounds.points[at_knee]) for one in shapes}
    best = max(shares.values())
    return min(batch for batch, share in shares.items() if share >= BATCH_SHARE * best), skipped


def _still_growing(rates: dict[int, float], reference: Point, max_sessions: int) -> bool:
    """Whether the most sessions allowed made more than half of them did, beyond what is worthwhile."""
    half = max((number for number in rates if number <= max_sessions // 2), default=None)
    if half is None or max_sessions not in rates:
        return False
    return rates[max_sessions] > rates[half] * (1 + WORTHWHILE) and reference.shape.sessions > half
