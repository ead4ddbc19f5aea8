"""Finding a token, what it says about itself, and logging in to it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pkcs11 import TokenFlag
from pkcs11 import exceptions as raised

from engine.errors import SignerFailed
from engine.pkcs11.cryptoki import (
    CKS_RO_USER_FUNCTIONS,
    CKS_RW_USER_FUNCTIONS,
    CKU_USER,
    UNAVAILABLE_INFORMATION,
    SessionInfo,
    TokenInfo,
)
from engine.pkcs11.log_in_lock import one_process_at_a_time
from engine.pkcs11.return_codes import CKR_USER_ALREADY_LOGGED_IN, check
from engine.pkcs11.return_values import translate

if TYPE_CHECKING:
    from pathlib import Path

    from engine.pkcs11.module import Module
    from engine.pkcs11.pin import Pin


@dataclass(frozen=True)
class TokenLimits:
    """What the token says about sessions, over all applications (CK_TOKEN_INFO, PKCS#11 v2.40 section 3.2).

    Args:
        max_sessions: the most it allows; None = no limit, or not told.
        open_sessions: how many are open now; None = not told.
    """

    max_sessions: int | None
    open_sessions: int | None


@dataclass(frozen=True)
class Token:
    """One token of a loaded module. Made by `find_token`.

    The methods that open a session or log in block, and raise the exceptions of python-pkcs11: they belong to this
    room.
    """

    module: Module
    label: str
    serial: str
    model: str
    manufacturer: str
    mechanisms: frozenset[int]
    _token: Any = field(repr=False)  # pkcs11.types.Token, whose open() takes more than is allowed here
    log_in_lock: Path | None = None

    @property
    def has_user_pin(self) -> bool:
        """Whether the user's PIN had been set when the token was found."""
        return bool(self._token.flags & TokenFlag.USER_PIN_INITIALIZED)

    def limits(self) -> TokenLimits:
        """Ask the token how many sessions it allows and how many are open. Blocks for one call.

        Raises:
            SignerUnavailable: the token does not answer now.
            SignerFailed: it refused.
        """
        info = TokenInfo()
        try:
            with one_process_at_a_time(self.log_in_lock):
                check(self.module.functions.get_token_info(self._token.slot.slot_id, ctypes.byref(info)))
        except raised.PKCS11Error as error:
            raise translate(error, place=f"token {self.label}") from error
        most, now = info.ulMaxSessionCount, info.ulSessionCount
        return TokenLimits(
            max_sessions=None if most in (0, UNAVAILABLE_INFORMATION) else most,
            open_sessions=None if now == UNAVAILABLE_INFORMATION else now,
        )

    def open_session(self, *, writable: bool = False) -> Any:
        """Open a session without a PIN, and return python-pkcs11's object for it.

        A session that python-pkcs11 opens with a PIN calls C_Logout when it closes, which logs out the whole
        application (section 5.6). So no session is ever opened so.
        """
        return self._token.open(rw=writable)

    def log_in(self, session: Any, pin: Pin, user: int = CKU_USER) -> None:
        """Log this process in to the token, through any session. One attempt, never repeated here.

        A log-in that stands already is success: it belongs to the application, and another pool may have made it.
        It ends when the application's last session on the token closes (section 5.6).
        """
        octets = pin.reveal()
        with one_process_at_a_time(self.log_in_lock):
            code = self.module.functions.login(session.handle, user, octets, len(octets))
        if code != CKR_USER_ALREADY_LOGGED_IN:
            check(code)

    def is_logged_in(self, session: Any) -> bool:
        """Whether the session sees private objects; a dead session raises."""
        info = SessionInfo()
        check(self.module.functions.get_session_info(session.handle, ctypes.byref(info)))
        return info.state in (CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS)


def find_token(
    module: Module, *, label: str, serial: str | None = None, log_in_lock: Path | None = None
) -> Token:
    """Find an initialised token by its label, and by its serial number where labels repeat.

    Args:
        module: the loaded module.
        label: the token's label.
        serial: its serial number.
        log_in_lock: a file that all processes on this token name; while one logs in, the others wait.

    Raises:
        SignerFailed: no token, or more than one, answers; the message names the label and the tokens there are.
        SignerUnavailable: the module cannot list its tokens now.
    """
    try:
        there = [
            found for found in module.python_library.get_tokens() if found.flags & TokenFlag.TOKEN_INITIALIZED
        ]
    except raised.PKCS11Error as error:
        raise translate(error, place=str(module.path)) from error
    fitting = [found for found in there if found.label == label and serial in (None, _text(found.serial))]
    if len(fitting) != 1:
        wanted = f"token {label!r}" if serial is None else f"token {label!r} with serial number {serial!r}"
        listing = ", ".join(f"{found.label!r} ({_text(found.serial)})" for found in there) or "none"
        problem = "several tokens answer to the name of" if fitting else "there is no"
        raise SignerFailed(f"{problem} {wanted}; tokens there are: {listing}", place=str(module.path))
    return _token(module, fitting[0], log_in_lock)


def _token(module: Module, found: Any, log_in_lock: Path | None) -> Token:
    try:
        mechanisms = frozenset(int(mechanism) for mechanism in found.slot.get_mechanisms())
    except raised.PKCS11Error as error:
        raise translate(error, place=f"token {found.label}") from error
    return Token(
        module,
        found.label,
        _text(found.serial),
        found.model,
        found.manufacturer_id,
        mechanisms,
        _token=found,
        log_in_lock=log_in_lock,
    )


def _text(serial: bytes) -> str:
    return serial.decode("ascii", errors="replace").strip("\0 ")
