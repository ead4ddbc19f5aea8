"""Batches of OCSP answers on their way to the record.

Three tasks hand them on,

    prepare   read, lay out, commit the digests    on a thread, while
    sign      the pool signs the batch before      on the sessions' threads, while
    complete  the one before is verified, stored   on a thread

so the token always has a batch to sign. Killed at any instruction, nothing is lost: what is owed, due or new stands
in the record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from engine.errors import TokenError
from engine.pkcs11.lanes import Lane
from engine.status.pre_signing import AnswerBatch, PreSigning

BATCH = 512
"""Answers that are committed together (bench.presign: 256 cost 26 µs an answer more, 1,024 only 2 less)."""

URGENT_POLL_SECONDS = 0.1
"""Between two looks for changed cards: half of it is what a change waits on average (bench.ocsp, propagation)."""

BULK_POLL_SECONDS = 1.0
"""Between two looks for renewals and new certificates when there were none. A guess: nothing waits for them."""

SignMany = Callable[[Sequence[bytes], Lane], Awaitable[list[bytes | TokenError]]]


@dataclass(frozen=True, slots=True)
class _Signed:
    batch: AnswerBatch
    outcomes: list[bytes | TokenError]


class AnswerPipeline:
    """Signs batches in one lane, three at a time in different steps.

    Args:
        work: what is to be signed.
        sign: signs messages in a lane; a token error is the outcome of a message or raised for all.
        stop: ends it after what is in hand.
        once: end as soon as nothing is left to do.
        stored: told whenever a batch was stored, with how many answers.
    """

    lane = Lane.PRE_SIGNING
    poll_seconds = BULK_POLL_SECONDS

    def __init__(
        self,
        work: PreSigning,
        sign: SignMany,
        stop: trio.Event,
        *,
        once: bool = False,
        stored: Callable[[int], None] = lambda answers: None,
    ) -> None:
        self._work = work
        self._sign_many = sign
        self._stop = stop
        self._once = once
        self._stored = stored
        self._in_hand: set[int] = set()
        self._new: deque[int] = deque()
        self._read_until: int | None = None
        self._noted: int | None = None

    async def run(self) -> None:
        """Sign until told to stop, or until nothing is left if that was asked for.

        Raises:
            TokenError: the token did not sign; what was signed is stored.
            StoreError: the record failed.
        """
        async with trio.open_nursery() as nursery:
            prepared_in, prepared_out = trio.open_memory_channel[AnswerBatch](1)
            signed_in, signed_out = trio.open_memory_channel[_Signed](1)
            nursery.start_soon(self._prepare, prepared_in)
            nursery.start_soon(self._sign, prepared_out, signed_in)
            nursery.start_soon(self._complete, signed_out)

    async def _prepare(self, channel: trio.MemorySendChannel[AnswerBatch]) -> None:
        async with channel:
            while not self._stop.is_set():
                in_hand = frozenset(self._in_hand)
                cards, read_until = await trio.to_thread.run_sync(self._next, in_hand)
                if not cards:
                    if self._once and not in_hand:  # what was in hand may be owed again by now
                        return
                    with trio.move_on_after(self.poll_seconds):
                        await self._stop.wait()
                    continue
                self._in_hand.update(cards)
                batch = await trio.to_thread.run_sync(self._reserve, cards, read_until)
                if batch is None:
                    self._in_hand.difference_update(cards)
                    continue
                self._in_hand.difference_update(set(cards) - {answer.card_id for answer in batch.answers})
                if not await _hand_on(channel, batch):
                    return

    def _reserve(self, cards: Sequence[int], read_until: int | None) -> AnswerBatch | None:
        return self._work.prepare(cards, urgent=self.lane is Lane.URGENT, read_until=read_until)

    def _next(self, in_hand: frozenset[int]) -> tuple[list[int], int | None]:
        """The cards of the next batch: renewals first, then new certificates, and how far the feed is read then."""
        due = [card for card in self._work.due(BATCH + len(in_hand)) if card not in in_hand]
        if due:
            return due[:BATCH], None
        while not self._new:
            found = self._work.new(self._read_until)
            if found.read_until is None:
                if not in_hand:  # else it may never be signed, and must be found again then
                    self._note_read()
                return [], None
            self._read_until = found.read_until
            self._new.extend(found.cards)
        cards = [self._new.popleft() for _ in range(min(BATCH, len(self._new)))]
        return cards, None if self._new else self._read_until

    def _note_read(self) -> None:
        if self._read_until is not None and self._read_until != self._noted:
            self._work.note_read(self._read_until)
            self._noted = self._read_until

    async def _sign(
        self, batches: trio.MemoryReceiveChannel[AnswerBatch], channel: trio.MemorySendChannel[_Signed]
    ) -> None:
        async with channel, batches:
            async for batch in batches:
                outcomes = await self._sign_many([answer.tbs for answer in batch.answers], self.lane)
                if not await _hand_on(channel, _Signed(batch, outcomes)):
                    return

    async def _complete(self, signed: trio.MemoryReceiveChannel[_Signed]) -> None:
        async with signed:
            async for one in signed:
                stored = await trio.to_thread.run_sync(self._work.complete, one.batch, one.outcomes)
                self._in_hand.difference_update(answer.card_id for answer in one.batch.answers)
                self._stored(stored)


T = TypeVar("T")


async def _hand_on(channel: trio.MemorySendChannel[T], one: T) -> bool:
    """Give something to the next task; False when that one has failed: its error is the one to be told, not ours."""
    try:
        await channel.send(one)
    except trio.BrokenResourceError:
        return False
    return True


class UrgentAnswerPipeline(AnswerPipeline):
    """Signs for the cards whose status changed, in the urgent lane."""

    lane = Lane.URGENT
    poll_seconds = URGENT_POLL_SECONDS

    def _next(self, in_hand: frozenset[int]) -> tuple[list[int], int | None]:
        owed = [card for card in self._work.owed(BATCH + len(in_hand)) if card not in in_hand]
        return owed[:BATCH], None
