"""The anchor: one session that logs in once and lives as long as the pool.

A log-in belongs to the application and ends with its last session (PKCS#11 v2.40 section 5.6), so as long as the
anchor is open every other session of the process is logged in without a PIN, however often it is replaced.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pkcs11.exceptions import PKCS11Error

from engine.pkcs11.return_values import Disposition, after_log_in, disposition_of
from engine.pkcs11.session_thread import SessionThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.pkcs11.pin import Pin
    from engine.pkcs11.session_slots import HeldSlot
    from engine.pkcs11.token import Token


class Anchor:
    """Keeps this process logged in to a token.

    Args:
        token: where.
        pin: the user's PIN.
        slot: its place under the cap on sessions.
    """

    def __init__(self, token: Token, pin: Pin, slot: HeldSlot | None) -> None:
        self._token = token
        self._pin = pin
        self._slot = slot
        self._session: Any = None
        self._thread = SessionThread(f"anchor on {token.label}")

    async def ensure_logged_in(self) -> None:
        """Log in, or make sure that the log-in still stands; after a restart of the token, log in anew.

        Each log-in is a single attempt with the PIN. If cancelled, the call to the token goes on unheeded.

        Raises:
            PinIncorrect: the token refused the PIN; never try again.
            SignerFailed: the log-in failed in a way that may have cost an attempt; never try again.
            pkcs11.exceptions.PKCS11Error: no session could be opened; the PIN was not used.
        """
        await self._thread.run(self._ensure)

    def close(self, closed: Callable[[], None]) -> None:
        """Close the session after what it is doing now; the log-in ends when no other session is open."""
        self._thread.submit(self._close, lambda _result: closed())
        self._thread.finish()

    def _ensure(self) -> None:
        if self._session is not None:
            try:
                if self._token.is_logged_in(self._session):
                    return
            except PKCS11Error as error:
                # Only a session known to be dead is replaced; anything else would open a second one beside it.
                if disposition_of(error) is not Disposition.REPLACE:
                    raise
            self._close_session()
        session = self._token.open_session()
        try:
            self._log_in(session)
        except BaseException:
            with suppress(PKCS11Error):  # the failed log-in is what matters
                session.close()
            raise
        self._session = session

    def _log_in(self, session: Any) -> None:
        try:
            self._token.log_in(session, self._pin)
        except PKCS11Error as error:
            refused = after_log_in(error, place=f"token {self._token.label}")
            if refused is None:
                raise
            raise refused from error

    def _close_session(self) -> None:
        with suppress(PKCS11Error):  # dead already
            self._session.close()
        self._session = None

    def _close(self) -> None:
        if self._session is not None:
            self._close_session()
        if self._slot is not None:
            self._slot.release()
