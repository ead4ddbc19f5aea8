"""Keeping every session of a pool busy for a while, and counting what it does meanwhile.

Two callers for each session: while one chunk is signed the next one waits, so a session that comes back never finds
nothing to do. A pool whose queue is never empty is what a run, or a pre-signer with much to do, gives the token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from engine.algorithms import SignatureAlgorithm
from engine.capacity.sweep_messages import Durations, Measure, Measured, announced_message
from engine.errors import TokenError
from engine.metrics.spending import process_cpu_microseconds
from engine.pkcs11.durations import DurationSummary
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_pool import SessionPool

CALLERS = 2
"""For each session: one is signed for, one waits."""

WARM_UP_LANE = Lane.PRE_SIGNING
MEASURED_LANE = Lane.ISSUANCE
"""Two lanes, so that the pool keeps what was measured apart from the warm-up. That of the warm-up goes first, so what
waits when the measuring begins is signed in its turn; it is never used again."""


@dataclass(slots=True)
class Load:
    """Signs announced messages over a pool, and measures.

    Args:
        pool: the pool; nobody else uses it.
        key: with which key.
        algorithm: how.
        told: what to measure.
        sessions: of the pool.
    """

    pool: SessionPool
    key: KeyReference
    algorithm: SignatureAlgorithm
    told: Measure
    sessions: int
    signed: int = 0
    _began: float = 0.0
    _begins: float = 0.0
    _ends: float = 0.0
    _calls: list[tuple[float, float, int]] = field(default_factory=list)
    _over_the_end: int = 0
    _cpu: float = 0.0

    async def run(self) -> Measured:
        """Warm up, measure, and come back when nothing is in flight any more.

        Calls begun within the time are waited for with the pool still full, so that the last of them takes no less
        than the others. If cancelled, chunks on a session are finished by it; their signatures were announced.

        Raises:
            TokenError: the token did not sign.
        """
        self._began = trio.current_time()
        self._begins = self._began + self.told.warm_up_seconds
        self._ends = self._begins + self.told.seconds
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS * self.sessions):
                nursery.start_soon(self._call_again_and_again)
            nursery.start_soon(self._watch_cpu)
        return self._measured()

    async def _watch_cpu(self) -> None:
        await trio.sleep_until(self._begins)
        began = process_cpu_microseconds()
        await trio.sleep_until(self._ends)
        self._cpu = (process_cpu_microseconds() - began) / 1e6

    async def _call_again_and_again(self) -> None:
        while True:
            now = trio.current_time()
            if now >= self._ends and not self._over_the_end:
                return
            count = min(self.told.batch, self.told.limit - self.signed)
            if count <= 0:
                self._ends = min(self._ends, now)
                return
            numbers = range(self.signed, self.signed + count)
            self.signed += count
            inside = now < self._ends
            self._over_the_end += inside
            await self._call([announced_message(self.told.text, number) for number in numbers])
            self._over_the_end -= inside

    async def _call(self, messages: list[bytes]) -> None:
        start = trio.current_time()
        lane = WARM_UP_LANE if start < self._begins else MEASURED_LANE
        outcomes = await self.pool.sign_many(messages, key=self.key, algorithm=self.algorithm, lane=lane)
        for outcome in outcomes:
            if isinstance(outcome, TokenError):
                raise outcome
        self._calls.append((start, trio.current_time(), len(messages)))

    def _measured(self) -> Measured:
        begins, ends = min(self._begins, self._ends), self._ends
        if ends <= begins:  # the limit was reached in the warm-up: what it did is better than nothing
            begins = self._began
        seconds = max(ends - begins, 1e-6)
        # A call that reaches over an edge counts by its share within.
        signatures = sum(
            count * max(0.0, min(end, ends) - max(start, begins)) / max(end - start, 1e-9)
            for start, end, count in self._calls
        )
        lane = self.pool.statistics().lanes[MEASURED_LANE]
        return Measured(
            seconds=seconds,
            signatures=signatures,
            signed=self.signed,
            call=_milliseconds(lane.signed),
            wait=_milliseconds(lane.waited),
            cpu_seconds=self._cpu,
        )


def _milliseconds(summary: DurationSummary) -> Durations:
    return Durations(
        mean_ms=summary.total_ns / max(summary.count, 1) / 1e6,
        p50_ms=summary.median_ns / 1e6,
        p95_ms=summary.percentile_95_ns / 1e6,
        p99_ms=summary.percentile_99_ns / 1e6,
    )
