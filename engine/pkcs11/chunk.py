"""One call of `sign_many` or `sign_digests`, and the chunks of it that travel to sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.algorithms import SignatureAlgorithm
    from engine.errors import TokenError
    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.lanes import Lane


class Batch:
    """What one call waits for: one outcome a message, in order."""

    def __init__(self, size: int) -> None:
        self._outcomes: list[bytes | TokenError | None] = [None] * size
        self._missing = size
        self._complete = trio.Event()
        self.abandoned = False  # the caller was cancelled; chunks not yet begun need not be

    def deliver(self, start: int, outcomes: Sequence[bytes | TokenError]) -> None:
        """Fill in the outcomes of the messages from this position on."""
        self._outcomes[start : start + len(outcomes)] = outcomes
        self._missing -= len(outcomes)
        if self._missing == 0:
            self._complete.set()

    async def outcomes(self) -> list[bytes | TokenError]:
        """Wait until every message has its outcome, and return them."""
        await self._complete.wait()
        return cast("list[bytes | TokenError]", self._outcomes)


@dataclass(slots=True, eq=False)
class Chunk:
    """Messages of one batch that one session signs in one go.

    The first fields are set before it goes to a session and stay. The session's thread appends to `outcomes`,
    `durations_ns` and `errors`; the loop only reads them, and an append is atomic.

    Args:
        batch: the call it belongs to.
        start: the position of its first message in the batch.
        messages: what to sign.
        are_digests: whether the messages were hashed already.
        key: with which key.
        algorithm: how.
        lane: its lane.
        queued_at: trio's time at which it began to wait, in seconds.
        attempts: how many sessions have failed at its first message.
        outcomes: one a message, as far as the session came.
        durations_ns: how long each call took.
        errors: the CKR names met, in the order they came.
        withdrawn: set by the loop: the session stops before the next message.
    """

    batch: Batch
    start: int
    messages: Sequence[bytes]
    are_digests: bool
    key: KeyReference
    algorithm: SignatureAlgorithm
    lane: Lane
    queued_at: float
    attempts: int = 0
    outcomes: list[bytes | TokenError] = field(default_factory=list)
    durations_ns: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    withdrawn: bool = False

    def first(self, count: int) -> Chunk:
        """Return a fresh chunk of the first messages."""
        messages = self.messages[:count]
        return Chunk(
            self.batch,
            self.start,
            messages,
            self.are_digests,
            self.key,
            self.algorithm,
            self.lane,
            self.queued_at,
            self.attempts,
        )

    def rest(self, done: int, queued_at: float, attempts: int) -> Chunk:
        """Return a fresh chunk of the messages after the first `done` ones."""
        return Chunk(
            self.batch,
            self.start + done,
            self.messages[done:],
            self.are_digests,
            self.key,
            self.algorithm,
            self.lane,
            queued_at,
            attempts,
        )
