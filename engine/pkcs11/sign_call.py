"""The hot path: one signature, by calling C_SignInit and C_Sign directly.

Why not python-pkcs11's `key.sign`: it calls C_Sign twice, first without a buffer to learn the length (on some
network HSMs a round trip of its own), and makes a buffer of 8 KiB each time. Measured by
`tests/pkcs11/measure_sign_call.py` (SoftHSM 2.6.1, RSA-2048, 4,000 signatures each, alternating in blocks of 200,
median of the thread's CPU time): 9 to 16 µs less a signature than `key.sign` over five runs; what this file itself
adds to the two calls is 1.4 µs.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from engine.pkcs11.cryptoki import Mechanism, PssParameters
from engine.pkcs11.return_codes import error_for

if TYPE_CHECKING:
    from engine.pkcs11.cryptoki import Functions
    from engine.pkcs11.mechanisms import SigningMechanism

_ROOM = 1024
"""Octets for a signature: twice what the largest key in use makes (RSA-4096, CPS 6.1.5)."""


class SignCall:
    """Signs with one key and one mechanism on one session. For the thread of that session only.

    Args:
        functions: the module's functions.
        session: the session handle.
        key: the handle of the private key on that session.
        mechanism: how the token performs the algorithm.
    """

    def __init__(self, functions: Functions, session: int, key: int, mechanism: SigningMechanism) -> None:
        self._sign_init = functions.sign_init
        self._sign = functions.sign
        self._session = session
        self._key = key
        self._prepare = mechanism.prepare
        self._finish = mechanism.finish
        # The addresses below are passed instead of the objects, which spares a conversion in every call; so the objects
        # must be kept alive here.
        self._parameters = None if mechanism.pss is None else PssParameters(*mechanism.pss)
        self._mechanism = Mechanism(mechanism.code)
        if self._parameters is not None:
            self._mechanism.pParameter = ctypes.addressof(self._parameters)
            self._mechanism.ulParameterLen = ctypes.sizeof(self._parameters)
        # Any: typeshed takes a slice of an array of c_char for a list; it is bytes
        self._buffer: Any = ctypes.create_string_buffer(_ROOM)
        self._length = ctypes.c_ulong()
        self._mechanism_at = ctypes.addressof(self._mechanism)
        self._buffer_at = ctypes.addressof(self._buffer)
        self._length_at = ctypes.addressof(self._length)

    def __call__(self, message: bytes) -> bytes:
        """Return the signature of the message. Blocks until the token answers.

        Raises:
            pkcs11.exceptions.PKCS11Error: the class that stands for what C_SignInit or C_Sign returned.
        """
        data = message if self._prepare is None else self._prepare(message)
        code = self._sign_init(self._session, self._mechanism_at, self._key)
        if code == 0:
            self._length.value = _ROOM
            code = self._sign(self._session, data, len(data), self._buffer_at, self._length_at)
        if code != 0:
            raise error_for(code)
        signature: bytes = self._buffer[: self._length.value]
        return signature if self._finish is None else self._finish(signature)
