"""What waits for the token: handed over one by one while there is little, in small batches while there is much.

A session that comes back after each signature loses the hop to the event loop and back; with a few messages at a time
that is shared. So batches grow with the queue, and answers wait for each other only where they would wait anyway.
Nothing is handed over that is not in the journal.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio

from engine.algorithms import SignatureAlgorithm
from engine.audit.digest_journal import DigestJournal
from engine.errors import Overloaded, PoolClosed, SealmintError, StoreError, TokenError
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from responders.live_signing.live_answers import ToSign

BATCH = 4
"""Messages a session gets at once, at most. Measured (decision 0025): 4 make 2,750 a second of SoftHSM's 2,900, one by
one 1,570; at 10 ms a call 0.96 of what the sessions can do, one by one 0.82 (on a busy machine)."""

_BATCHES_PER_SESSION = 2
"""One in the session, one before it, so that it goes on without a hop through this queue."""

_LOOK_SECONDS = 1.0
"""Between two looks whether the pool has become larger. A guess: a person asked for it."""


class Signing(Protocol):
    """What a `SessionPool` does, as far as it is needed here."""

    @property
    def size(self) -> int:
        """How many sessions it should have."""
        ...

    @property
    def ended(self) -> TokenError | None:
        """Why it takes no more work, if so."""
        ...

    async def sign_many(
        self,
        messages: Sequence[bytes],
        *,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane,
        waiting_since: float | None,
    ) -> list[bytes | TokenError]:
        """Sign messages; one outcome each."""
        ...

    def most_waiting(self, lane: Lane) -> int:
        """How many messages are signed while those who asked for them wait."""
        ...


class Waiting:
    """A message on its way to its signature."""

    def __init__(self, to_sign: ToSign) -> None:
        self.to_sign = to_sign
        self.since = trio.current_time()
        self.came = trio.Event()
        self.outcome: bytes | SealmintError = PoolClosed("the live signer is stopping")

    def settle(self, outcome: bytes | SealmintError) -> None:
        """Tell whoever waits what came of it."""
        self.outcome = outcome
        self.came.set()


class SigningQueue:
    """Signs single messages with a pool, in batches as large as the queue makes worthwhile.

    Args:
        pool: opened with chunks of at least `BATCH` messages.
        journal: accounts for what is handed over.
        most_waiting: messages that may be on their way at most; more are refused, and so are more than the pool signs
            while those who asked wait.

    Attributes:
        on_their_way: messages that were put and have no signature yet.
    """

    def __init__(self, pool: Signing, journal: DigestJournal, most_waiting: int) -> None:
        self._pool = pool
        self._journal = journal
        self._most_waiting = most_waiting
        self._waiting: deque[Waiting] = deque()
        self.on_their_way = 0
        self._arrived = trio.lowlevel.ParkingLot()

    @property
    def ended(self) -> TokenError | None:
        """Why the pool takes no more work, if so."""
        return self._pool.ended

    @property
    def most_waiting(self) -> int:
        """How many messages may be on their way now."""
        return min(self._most_waiting, self._pool.size + self._pool.most_waiting(Lane.LIVE))

    @property
    def is_full(self) -> bool:
        """Whether one more message would be refused."""
        return self.on_their_way >= self.most_waiting

    def put(self, to_sign: ToSign) -> Waiting:
        """Queue a message; `signature` must follow.

        Raises:
            Overloaded: too many are on their way.
        """
        if self.is_full:
            raise Overloaded("too many live answers wait", rule=f"at most {self.most_waiting}")
        waiting = Waiting(to_sign)
        self.on_their_way += 1
        self._waiting.append(waiting)
        self._arrived.unpark()
        return waiting

    async def signature(self, waiting: Waiting) -> bytes:
        """Wait for the signature of a message that was put.

        Cancelled, it takes the message out of the queue; what a session has already is signed in vain.

        Raises:
            StoreError: it could not be accounted for, so it was not signed.
            TokenError, Overloaded: the token did not sign it.
        """
        try:
            await waiting.came.wait()
        except trio.Cancelled:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise
        finally:
            self.on_their_way -= 1
        if isinstance(waiting.outcome, SealmintError):
            raise waiting.outcome
        return waiting.outcome

    async def run(self) -> None:
        """Hand messages over to the pool until cancelled."""
        handing_over = 0
        async with trio.open_nursery() as nursery:
            while True:
                for _ in range(handing_over, _BATCHES_PER_SESSION * self._pool.size):
                    nursery.start_soon(self._hand_over)
                    handing_over += 1
                await trio.sleep(_LOOK_SECONDS)

    async def _hand_over(self) -> None:
        while True:
            while not self._waiting:
                await self._arrived.park()
            batch = self._next_batch()
            for one, outcome in zip(batch, await self._sign(batch), strict=True):
                one.settle(outcome)

    async def _sign(self, batch: Sequence[Waiting]) -> Sequence[bytes | SealmintError]:
        algorithm, key = batch[0].to_sign.algorithm, batch[0].to_sign.responder.key
        messages = [one.to_sign.tbs for one in batch]
        try:
            self._journal.add([hashlib.new(algorithm.hash_name, message).digest() for message in messages])
            return await self._pool.sign_many(
                messages, key=key, algorithm=algorithm, lane=Lane.LIVE, waiting_since=batch[0].since
            )
        except (Overloaded, StoreError, TokenError) as error:
            return [error] * len(batch)

    def _next_batch(self) -> list[Waiting]:
        """The longest waiting and, where many wait, those behind it that the same key and algorithm sign."""
        most = min(BATCH, max(1, len(self._waiting) // self._pool.size))
        batch = [self._waiting.popleft()]
        kind = _kind(batch[0])
        while len(batch) < most and self._waiting and _kind(self._waiting[0]) == kind:
            batch.append(self._waiting.popleft())
        return batch


def _kind(waiting: Waiting) -> tuple[KeyReference, SignatureAlgorithm]:
    return waiting.to_sign.responder.key, waiting.to_sign.algorithm
