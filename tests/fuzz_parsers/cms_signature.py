"""Detached CMS signatures over manifests and statements (`engine/authority/detached_signature.py`)."""

from __future__ import annotations

from functools import cache

import trio
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from engine.authority.detached_signature import sign_detached, verify_detached
from engine.errors import SignatureInvalid
from tests.feed_pull.toy_feed import toy
from tests.judges.toy_authority import NOW
from tests.responders.synthetic_status import der_of

CONTENT = b"what is signed"


def signed(content: bytes) -> bytes:
    """The signature of the toy CA's operations key over a content."""
    signer = toy().unauthorised_responder

    async def sign(octets: bytes) -> bytes:
        return signer.key.sign(octets, padding.PKCS1v15(), SHA256())

    async def make() -> bytes:
        return await sign_detached(content, certificate=der_of(signer), chain=(), signing_time=NOW, sign=sign)

    return trio.run(make)


@cache
def _signature() -> bytes:
    return signed(CONTENT)


def seeds() -> list[bytes]:
    return [_signature()]


def attempt(octets: bytes) -> bool:
    try:
        verify_detached(CONTENT, octets, [der_of(toy().unauthorised_responder)])
    except SignatureInvalid:
        return False
    return True
