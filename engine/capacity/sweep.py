"""A sweep: what the token does over processes × sessions × batch, with a key of its own (`sweep_key`).

Every slice is announced in the audit record with the most it may sign, and accounted for after it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from engine.authority.context import AuthorityContext
from engine.capacity.document import FitPart, ModelPart, SweepDocument, point_part
from engine.capacity.points import Shape, Slice
from engine.capacity.recommendation import recommend
from engine.capacity.rounds import Rounds
from engine.capacity.search import Found, Space, curve, curve_points, search
from engine.capacity.sweep_crew import SliceOrder, SweepCrew, open_crew
from engine.capacity.sweep_key import SweepKey, account, announce
from engine.errors import InputRejected
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token

if TYPE_CHECKING:
    from engine.capacity.models import Fit

SHORTEST_WARM_UP_SECONDS = 0.1
"""Threads are started and the module's first calls over. A guess."""

HOLDS_OF_WARM_UP = 1.5
HOLDS_OF_SLICE = 2
"""In chunks of a session: every session has begun a chunk that waited, and several chunks of it are measured. A
guess."""

FASTEST_SESSION = 20_000
"""Signatures a second that no session exceeds: what the first slice announces before anything is known. A guess."""

HEADROOM = 2
"""The most that is announced, over what is expected: an announced signature that is not made costs nothing, and one
that may not be made cuts the slice short. A guess."""

Progress = Callable[[Shape, Slice], None]


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What is to be swept.

    Attributes:
        space: the shapes.
        seconds_per_point: of measuring, over all slices of a point.
        beside: who else uses the token meanwhile, for the document.
    """

    space: Space
    seconds_per_point: float
    beside: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sweep:
    context: AuthorityContext
    request: SweepRequest
    key: SweepKey
    crew: SweepCrew
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    fastest_session: float = 0.0
    fastest: float = 0.0

    async def slice(self, shape: Shape, round_number: int) -> Slice:
        """Measure one slice, announced before and accounted for after, however it ends."""
        number = next(self.numbers)
        order = self._order(shape, number)
        await trio.to_thread.run_sync(announce, self.context, self.key, number, shape, order.each)
        try:
            one = await self.crew.measure(order, round_number)
        finally:
            with trio.CancelScope(shield=True):
                signed = self.crew.signed(shape.workers)
                await trio.to_thread.run_sync(account, self.context, self.key, number, signed)
        self.fastest_session = max(self.fastest_session, one.per_second / shape.sessions)
        self.fastest = max(self.fastest, one.per_second)
        return one

    def _at_most(self, shape: Shape) -> float:
        """What a process may be expected to sign a second: sessions at most double from one point to the next."""
        if not self.fastest:
            return FASTEST_SESSION * max(shape.of_each_worker())
        return min(self.fastest_session * max(shape.of_each_worker()), 2 * self.fastest)

    def _order(self, shape: Shape, number: int) -> SliceOrder:
        # One session signs at its own pace; a token that is full lets a call wait for those before it.
        per_session = min(self.fastest_session, self.fastest / shape.sessions)
        hold = shape.batch / per_session if per_session else 0.0
        warm_up = max(SHORTEST_WARM_UP_SECONDS, HOLDS_OF_WARM_UP * hold)
        seconds = max(self.request.seconds_per_point / self.request.space.rounds, HOLDS_OF_SLICE * hold)
        rate = self._at_most(shape)
        each = HEADROOM * (rate * (warm_up + seconds + 2 * hold) + 2 * shape.batch * shape.sessions)
        return SliceOrder(
            shape, lambda worker: self.key.text(number, worker), int(each) + 1, warm_up, seconds
        )


async def sweep(
    context: AuthorityContext,
    request: SweepRequest,
    token: Token,
    pin: Pin,
    key: SweepKey,
    progress: Progress,
) -> SweepDocument:
    """Sweep the token, and return what was found; nothing is saved yet.

    Cancelled, it closes its processes; what they signed until then stays announced.

    Args:
        context: the home and its parts.
        request: what is to be swept.
        token: the open token.
        pin: its PIN.
        key: with what to sign.
        progress: told after every slice.

    Raises:
        TokenError: the token did not do what was asked.
        AuditFailed: a slice could not be recorded; it was not measured.
    """
    began = time.monotonic()
    async with open_rounds(context, request, pin, key, progress) as rounds:
        found = await search(request.space, rounds)
    return _document(context, request, token, key, rounds, found, time.monotonic() - began)


@asynccontextmanager
async def open_rounds(
    context: AuthorityContext, request: SweepRequest, pin: Pin, key: SweepKey, progress: Progress
) -> AsyncIterator[Rounds]:
    """Give rounds that measure the token, every slice announced and accounted for; see `sweep`."""
    async with open_crew(context.home, pin, key.label, key.algorithm) as crew:
        yield Rounds(_Sweep(context, request, key, crew).slice, progress)


def sessions_within(token: Token, asked: int, processes: int) -> int:
    """Return how many sessions a sweep may open, within what the token allows and others have not taken.

    Every process needs one more for its anchor.

    Raises:
        InputRejected: not even one.
    """
    limits = token.limits()
    if limits.max_sessions is None:
        return asked
    most = limits.max_sessions - (limits.open_sessions or 0) - processes
    if most < 1:
        rule = f"one for each of {processes} processes, and one to sign"
        raise InputRejected("the token has too few sessions left", value=limits.max_sessions, rule=rule)
    return min(asked, most)


def _document(
    context: AuthorityContext,
    request: SweepRequest,
    token: Token,
    key: SweepKey,
    rounds: Rounds,
    found: Found,
    seconds: float,
) -> SweepDocument:
    cpus = len(os.sched_getaffinity(0))
    points = curve_points(rounds, found.workers, found.curve_batch)
    rates = curve(rounds, found.workers, found.curve_batch)
    knee = points[found.knee_sessions]
    batches = [point for shape, point in rounds.points.items() if shape[:2] == knee.shape[:2]]
    advice = recommend(found, points, rates, batches, cpus)
    return SweepDocument(
        measured_at=context.clock.now(),
        seconds=round(seconds, 1),
        token=token.label,
        serial=token.serial,
        model=token.model,
        key=key.label,
        algorithm=key.algorithm.value,
        cpus=cpus,
        knee_sessions=found.knee_sessions,
        plateau_per_second=round(found.plateau, 2),
        still_growing=found.still_growing,
        curve_workers=found.workers,
        curve_batch=found.curve_batch,
        cpu_share=round(knee.per_second * knee.cpu_microseconds / 1e6 / cpus, 3),
        recommended=advice.recommended,
        why=advice.why,
        fit=_fit(rates),
        points=[
            point_part(point, rates[shape.sessions] if points.get(shape.sessions) is point else None)
            for shape, point in sorted(rounds.points.items())
        ],
        batches_not_measured=list(found.batches_not_measured),
        beside=list(request.beside),
    )


CHOSEN_BY = "smaller relative error (root mean square) of each point predicted from all the others"


def _fit(rates: dict[int, float]) -> FitPart | None:
    from engine.capacity.models import fit_models  # numpy is there only with the extra `instruments`

    fits = fit_models(rates)
    if fits is None:
        return None
    better, other = _model(fits.better), _model(fits.other)
    return FitPart(**better.model_dump(), chosen_by=CHOSEN_BY, other=other)


def _model(fit: Fit) -> ModelPart:
    return ModelPart(
        model=fit.model,
        parameters={name: float(f"{value:.6g}") for name, value in fit.parameters.items()},
        error=round(fit.error, 5),
        left_out_error=round(fit.left_out_error, 5),
        residuals={sessions: round(share, 5) for sessions, share in fit.residuals.items()},
    )
