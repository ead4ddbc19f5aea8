"""Making a fresh token, for development and tests. A production HSM is initialised by its own ceremony (CPS 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkcs11 import TokenFlag
from pkcs11 import exceptions as raised

from engine.errors import ConfigurationInvalid, SignerFailed
from engine.pkcs11.cryptoki import CKU_SO
from engine.pkcs11.return_codes import check
from engine.pkcs11.return_values import translate
from engine.pkcs11.token import Token, find_token

if TYPE_CHECKING:
    from engine.pkcs11.module import Module
    from engine.pkcs11.pin import Pin

_LABEL_OCTETS = 32
"""The length of a token's label, padded with blanks and not ended by a zero (PKCS#11 v2.40 section 5.5)."""


def initialise_token(module: Module, *, label: str, security_officer_pin: Pin, pin: Pin) -> Token:
    """Initialise the module's first uninitialised token and set the user's PIN; return the token.

    The PINs go straight to C_InitToken and C_InitPIN: no program is started that could show them. Blocks.

    Raises:
        ConfigurationInvalid: the label is empty or longer than 32 octets, or a token has it already.
        SignerFailed: there is no uninitialised token, or the token refused.
        SignerUnavailable: the token does not answer now.
    """
    octets = label.encode()
    if not 0 < len(octets) <= _LABEL_OCTETS:
        rule = f"a token's label has 1 to {_LABEL_OCTETS} octets in UTF-8 (PKCS#11 v2.40 section 5.5)"
        raise ConfigurationInvalid("the token's label has a wrong length", value=label, rule=rule)
    try:
        _initialise(module, label, octets.ljust(_LABEL_OCTETS), security_officer_pin)
        token = find_token(module, label=label)
        _set_pin(token, security_officer_pin, pin)
    except raised.PKCS11Error as error:
        raise translate(error, place=f"token {label}") from error
    return token


def set_missing_pin(token: Token, *, security_officer_pin: Pin, pin: Pin) -> bool:
    """Set the user's PIN of a token that has none: its initialisation was broken off between the two steps. Blocks.

    Returns:
        Whether it was missing.

    Raises:
        SignerFailed: the token refused.
        SignerUnavailable: the token does not answer now.
    """
    if token.has_user_pin:
        return False
    try:
        _set_pin(token, security_officer_pin, pin)
    except raised.PKCS11Error as error:
        raise translate(error, place=f"token {token.label}") from error
    return True


def _initialise(module: Module, label: str, padded: bytes, security_officer_pin: Pin) -> None:
    fresh = None
    for token in module.python_library.get_tokens():
        if not token.flags & TokenFlag.TOKEN_INITIALIZED:
            fresh = fresh or token
        elif token.label == label:
            raise ConfigurationInvalid("a token has this label already", place=str(module.path), value=label)
    if fresh is None:
        raise SignerFailed("there is no uninitialised token", place=str(module.path))
    pin = security_officer_pin.reveal()
    check(module.functions.init_token(fresh.slot.slot_id, pin, len(pin), padded))


def _set_pin(token: Token, security_officer_pin: Pin, pin: Pin) -> None:
    octets = pin.reveal()
    session = token.open_session(writable=True)
    try:
        token.log_in(session, security_officer_pin, CKU_SO)
        check(token.module.functions.init_pin(session.handle, octets, len(octets)))
    finally:
        session.close()  # the only session on a fresh token, so this ends the security officer's log-in too
