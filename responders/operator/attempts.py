"""Attempts to show the token: one at a time, and a wrong one holds the next up."""

from __future__ import annotations

import hashlib
import hmac

import trio

from engine.errors import Overloaded

WRONG_SECONDS = 1.0
"""For how long a wrong attempt holds up the next. A guess: whoever mistypes hardly notices."""

MOST_WAITING = 8
"""Attempts that wait for their turn; more are refused unseen, or their number would make up for the slowness. A
guess."""


class Attempts:
    """Compares what is shown with the token.

    Args:
        token: the right one.
    """

    def __init__(self, token: str) -> None:
        self._digest = _digest(token)
        self._turn = trio.Lock()
        self._waiting = 0

    async def is_right(self, shown: str) -> bool:
        """Return whether this is the token, in a time that tells nothing of how far it was.

        Cancelled, a wrong attempt holds up the next all the same.

        Raises:
            Overloaded: too many attempts wait; this one was not looked at.
        """
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too many attempts to sign in", rule="try again in some seconds")
        self._waiting += 1
        try:
            async with self._turn:
                if hmac.compare_digest(_digest(shown), self._digest):
                    return True
                with trio.CancelScope(shield=True):
                    await trio.sleep(WRONG_SECONDS)
                return False
        finally:
            self._waiting -= 1


def _digest(token: str) -> bytes:
    """Digests have one length, so that a comparison tells nothing of the token's."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
