"""A session pool that signs with a key in memory, when it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from engine.algorithms import SignatureAlgorithm
from engine.errors import TokenError
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from tests.judges.toy_authority import Holder
from tests.responders.synthetic_status import sign


@dataclass(eq=False)
class Held:
    """A message that waits for its signature."""

    message: bytes
    released: trio.Event = field(default_factory=trio.Event)


class ScriptedPool:
    """Signs at once; or, while `holding`, when a message is released.

    Args:
        holder: whose key signs.
        sessions: how many it says it has.
    """

    def __init__(self, holder: Holder, sessions: int) -> None:
        self.size = sessions
        self.signed_in_time = 10_000
        self._holder = holder
        self.ended: TokenError | None = None
        self.holding = False
        self.refusal: TokenError | None = None
        self.outcome: bytes | TokenError | None = None
        self.held: list[Held] = []
        self.signed: list[bytes] = []
        self.batches: list[int] = []
        self._arrived = trio.lowlevel.ParkingLot()

    def most_waiting(self, lane: Lane) -> int:
        return self.signed_in_time

    async def sign_many(
        self,
        messages: Sequence[bytes],
        *,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane,
        waiting_since: float | None,
    ) -> list[bytes | TokenError]:
        assert (key.label, lane) == ("ocsp", Lane.LIVE)
        if self.refusal is not None:
            raise self.refusal
        self.batches.append(len(messages))
        return [await self._sign(message, algorithm) for message in messages]

    async def _sign(self, message: bytes, algorithm: SignatureAlgorithm) -> bytes | TokenError:
        if self.holding:
            one = Held(message)
            self.held.append(one)
            self._arrived.unpark_all()
            await one.released.wait()
        self.signed.append(message)
        return self.outcome or sign(self._holder, message, algorithm)

    def release_all(self) -> None:
        """Sign what is held, and from now on at once."""
        self.holding = False
        for one in self.held:
            one.released.set()

    async def until_held(self, count: int) -> None:
        """Wait until so many messages have come to their turn."""
        while len(self.held) < count:
            await self._arrived.park()
