"""Keeping a pool at its size: sessions are opened, replaced and watched here.

The tasks here do what takes time; every change of the pool's state is a plain function of `SessionPool`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

import trio
from pkcs11.exceptions import PKCS11Error

from engine.errors import SignerFailed, SignerUnavailable, TokenError
from engine.pkcs11.anchor import Anchor
from engine.pkcs11.dispatch import PoolExhausted
from engine.pkcs11.return_values import translate
from engine.pkcs11.session_slots import HeldSlot, NoFreePlace, SessionSlots
from engine.pkcs11.session_thread import PooledSession, ThreadedSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.pin import Pin
    from engine.pkcs11.pool import SessionPool
    from engine.pkcs11.token import Token

OPENING_TIMEOUT = 60.0
"""Seconds for opening a session and finding its keys, or for a log-in. A guess: longer than network HSM clients
try to connect."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to open a session at most, doubled from the first to the longest; each pause is drawn
from the upper half, so that the processes of a host do not all come at once. A guess: a restarting HSM takes from
seconds to minutes and must not be asked hundreds of times a second; one that is back is found in two."""

IDLE_CHECK_SECONDS = 1.0
"""Between two looks at the sessions that have nothing to do. A guess: one C_GetSessionInfo a session and second is no
load, and a token that was restarted has its sessions back before most questions come."""


class SessionSource(Protocol):
    """Where a pool's sessions come from; the seam for tests of timing."""

    async def ensure_logged_in(self) -> None:
        """Make sure that a session opened now is logged in."""
        ...

    def make(self, number: int) -> PooledSession:
        """Make a session, not yet open, with its place under the cap; `NoFreePlace` if there is none."""
        ...


class TokenSessionSource:
    """Sessions on a token, each with a thread of its own, and the anchor that logs in for all of them.

    Args:
        token: where.
        pin: the user's PIN.
        keys: the keys every session looks up.
        slots: the places under the cap, shared with other processes; None = this process is alone.
    """

    def __init__(
        self, token: Token, pin: Pin, keys: Sequence[KeyReference], slots: SessionSlots | None
    ) -> None:
        self._token = token
        self._keys = keys
        self._slots = slots
        self.anchor = Anchor(token, pin, self._take_slot())

    async def ensure_logged_in(self) -> None:
        """See `SessionSource`."""
        await self.anchor.ensure_logged_in()

    def make(self, number: int) -> PooledSession:
        """See `SessionSource`."""
        return ThreadedSession(number, self._token, self._keys, self._take_slot())

    def _take_slot(self) -> HeldSlot | None:
        return self._slots.take() if self._slots is not None else None


class SessionSupply:
    """Keeps a pool at its size.

    Args:
        pool: the pool.
        source: where its sessions come from.
        place: the token, for messages.
    """

    def __init__(self, pool: SessionPool, source: SessionSource, place: str) -> None:
        self._pool = pool
        self._source = source
        self._place = place
        self._number = 0

    async def fill(self) -> None:
        """Open the sessions one by one, and set the pool's size to what the cap on sessions allows.

        Raises:
            TokenError: one of them could not be opened, or the cap allows none.
        """
        while self._pool.missing:
            try:
                await self._open()
            except NoFreePlace:
                if self._pool.size == self._pool.missing:
                    raise
                self._pool.resize(self._pool.size - self._pool.missing)

    async def keep_filled(self) -> None:
        """Open a session whenever one is missing, until the pool ends; pause longer after every failure."""
        pause = FIRST_PAUSE
        while self._pool.ended is None:
            if not self._pool.missing:
                await self._pool.changed.park()
                continue
            try:
                await self._open()
            except SignerFailed as error:
                self._pool.end(error)
            except TokenError as error:
                self._pool.no_session(error)
                await trio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - nothing secret about a pause
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE

    async def watch(self, call_timeout: float) -> None:
        """Look for stuck sessions, a quarter of the timeout apart: one is found after 1 to 1.25 timeouts."""
        while True:
            await trio.sleep(call_timeout / 4)
            self._pool.look_for_stuck(trio.current_time(), call_timeout)

    async def check_idle(self) -> None:
        """Look at the sessions that have nothing to do, from time to time."""
        while True:
            await trio.sleep(IDLE_CHECK_SECONDS)
            self._pool.check_idle()

    async def _open(self) -> None:
        """Open one session and give it to the pool; a wrong PIN, a missing key and so on raise `SignerFailed`."""
        try:
            await self._log_in()
            self._number += 1
            session = self._source.make(self._number)
            self._pool.register(session)
            stuck = True
            try:
                with trio.move_on_after(OPENING_TIMEOUT):
                    await session.open()
                    stuck = False
            except BaseException:
                self._pool.discard(session)
                raise
        except PKCS11Error as error:
            raise translate(error, place=self._place) from error
        if stuck:
            self._pool.discard(session, stuck=True)
            raise SignerUnavailable("opening a session did not come back in time", place=self._place)
        self._pool.add(session)

    async def _log_in(self) -> None:
        with trio.move_on_after(OPENING_TIMEOUT) as scope:
            await self._source.ensure_logged_in()
        if scope.cancelled_caught:
            # Nothing can be opened without the anchor, and its thread cannot be freed.
            raise PoolExhausted("the log-in did not come back in time", place=self._place)
