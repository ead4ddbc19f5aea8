"""Subscribers' public keys (`engine/x509/public_keys.py`)."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

from engine.errors import InputRejected
from engine.x509.public_keys import PublicKeyRules, check_public_key
from tests.x509.specimens import spki_of, subject_spki

_RULES = PublicKeyRules()


@cache
def _keys() -> tuple[bytes, ...]:
    return subject_spki(), spki_of(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def seeds() -> list[bytes]:
    return list(_keys())


def attempt(octets: bytes) -> bool:
    try:
        check_public_key(octets, _RULES)
    except InputRejected:
        return False
    return True
