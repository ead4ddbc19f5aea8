"""Destroying key pairs that were made for a while: those of measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pkcs11 import Attribute, ObjectClass
from pkcs11 import exceptions as raised

from engine.pkcs11.return_values import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.pkcs11.pin import Pin
    from engine.pkcs11.token import Token

_T = TypeVar("_T")

_KEY_CLASSES = (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
"""The private one first: broken off in between, what is left cannot sign."""


def key_labels(token: Token, pin: Pin, prefix: str) -> list[str]:
    """Return the labels of the keys that begin so, each once, in order. Blocks.

    Raises:
        PinIncorrect: the token refused the PIN.
        SignerFailed: it refused otherwise.
        SignerUnavailable: it does not answer now.
    """

    def read(session: Any) -> list[str]:
        labels = {
            key[Attribute.LABEL]
            for kind in _KEY_CLASSES
            for key in session.get_objects({Attribute.CLASS: kind})
        }
        return sorted(label for label in labels if label.startswith(prefix))

    return _in_session(token, pin, read)


def destroy_key_pairs(token: Token, pin: Pin, labels: Iterable[str]) -> None:
    """Destroy private and public keys of these labels (C_DestroyObject); those that are gone already are no error.

    A label belongs to whoever made the keys: the caller must know that they are his. Blocks.

    Raises:
        PinIncorrect: the token refused the PIN.
        SignerFailed: it refused otherwise, such as a key that it does not let go.
        SignerUnavailable: it does not answer now.
    """

    def destroy(session: Any) -> None:
        for label in labels:
            for kind in _KEY_CLASSES:
                for key in list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label})):
                    key.destroy()

    _in_session(token, pin, destroy)


def _in_session(token: Token, pin: Pin, work: Callable[[Any], _T]) -> _T:
    try:
        session = token.open_session(writable=True)
        try:
            token.log_in(session, pin)
            return work(session)
        finally:
            session.close()
    except raised.PKCS11Error as error:
        raise translate(error, place=f"token {token.label}") from error
