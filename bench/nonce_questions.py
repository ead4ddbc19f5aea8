"""Nonce questions in an open loop: asked when their time has come, whatever became of those before.

The time of an answer is counted from the moment at which its question was to be asked, so a server that stalls is not
spared the questions that could not be asked meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import trio

from bench.ocsp_client import OcspClient, request_for, seen
from bench.ocsp_home import ServedHome, percentile

SEED = 20_261_124
"""Of the order in which certificates are asked about."""

GRACE_SECONDS = 6.0
"""How long answers are waited for after the last question: a little more than `[ocsp].live_timeout`."""


@dataclass(slots=True)
class Asked:
    """A question and what came of it; seconds of trio's clock."""

    intended: float
    serial: bytes
    sent: float = 0.0
    answered: float = 0.0
    answer: tuple[bytes, bytes] | None = None

    @property
    def latency(self) -> float:
        """Seconds from the intended start to the answer; infinite where there is none."""
        return self.answered - self.intended if self.answer is not None else float("inf")

    @property
    def outcome(self) -> str:
        """good, an OCSPResponseStatus, `not live` (signed ahead) or `none`."""
        if self.answer is None:
            return "none"
        said = seen(self.answer, self.serial)
        return "not live" if said.cacheable else said.status


async def ask_in_open_loop(
    home: ServedHome, per_second: float, seconds: float, connections: int
) -> list[Asked]:
    """Ask about random certificates at a constant rate; return every question, with its answer if one came.

    Args:
        home: the served home.
        per_second: questions.
        seconds: for how long.
        connections: the most that are used; a question whose time comes while all are taken is asked late.
    """
    choice, began = random.Random(SEED), trio.current_time()
    questions = [
        Asked(began + number / per_second, choice.choice(home.serials))
        for number in range(round(per_second * seconds))
    ]
    numbers = count()

    async def connection() -> None:
        client = OcspClient(home.address)
        while (number := next(numbers)) < len(questions):
            if not await _ask(client, questions[number], home):
                await client.aclose()

    with trio.move_on_at(began + seconds + GRACE_SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(connections):
                nursery.start_soon(connection)
    return questions


async def _ask(client: OcspClient, question: Asked, home: ServedHome) -> bool:
    request = request_for(home.issuer, question.serial, nonce=True)
    await trio.sleep_until(question.intended)
    question.sent = trio.current_time()
    try:
        question.answer = await client.ask(request)
    except (OSError, trio.BrokenResourceError):
        return False
    question.answered = trio.current_time()
    return True


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest of some seconds, in milliseconds."""
    ordered = list(values)
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: round(percentile(ordered, share) * 1e3, 2) for name, share in shares.items()}
