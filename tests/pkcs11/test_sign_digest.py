"""Signing what was hashed before: what a CRL needs, which is too large for a call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Mechanism

from engine.algorithms import SignatureAlgorithm
from engine.errors import KeyMismatch, Overloaded, SignerFailed, SignerUnavailable
from engine.pkcs11.keys import KeyReference, KeyType
from engine.pkcs11.module import Module
from engine.pkcs11.token import find_token
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool
from tests.pkcs11.test_signing import CASES

CKR_DEVICE_MEMORY = 0x31
PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
MESSAGES = [b"", b"a tbsCertList", bytes(100_000)]
BARE = {True: Mechanism.RSA_PKCS, False: Mechanism.RSA_PKCS_PSS}


def digests_of(algorithm: SignatureAlgorithm) -> list[bytes]:
    return [hashlib.new(algorithm.hash_name, message).digest() for message in MESSAGES]


def verify_digest(key: bytes, algorithm: SignatureAlgorithm, signature: bytes, digest: bytes) -> None:
    """Let cryptography verify; it raises InvalidSignature."""
    public_key = load_der_public_key(key)
    hash_algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[
        algorithm.hash_name
    ]
    prehashed = Prehashed(hash_algorithm)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, digest, ec.ECDSA(prehashed))
        return
    assert isinstance(public_key, rsa.RSAPublicKey)
    pss = padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size)
    scheme = padding.PKCS1v15() if algorithm.is_deterministic else pss
    public_key.verify(signature, digest, scheme, prehashed)


@pytest.mark.judge("cryptography")
@pytest.mark.cps("6.1.5")
@pytest.mark.parametrize(("key_type", "algorithm"), CASES)
async def test_signatures_of_digests_verify(
    key_type: KeyType,
    algorithm: SignatureAlgorithm,
    public_keys: Mapping[KeyType, bytes],
    open_pool: OpenPool,
    hsm: HsmShim,
) -> None:
    key, digests = KeyReference(key_type.value), digests_of(algorithm)
    before = len(hsm.signatures())
    async with open_pool(keys=[key]) as pool:
        signatures = await pool.sign_digests(digests, key=key, algorithm=algorithm)
    for digest, signature in zip(digests, signatures, strict=True):
        assert isinstance(signature, bytes)
        verify_digest(public_keys[key_type], algorithm, signature, digest)
    logged = hsm.signatures()[before:]
    assert sorted(line.digest for line in logged) == sorted(digest.hex() for digest in digests)
    bare = BARE[algorithm.is_deterministic] if algorithm.is_rsa else Mechanism.ECDSA
    assert {line.mechanism for line in logged} == {bare}


async def test_messages_and_digests_share_a_session(
    public_keys: Mapping[KeyType, bytes], open_pool: OpenPool, rsa_key: KeyReference
) -> None:
    """Deterministic, so that both ways must lead to the same signature."""
    async with open_pool(size=1) as pool:
        by_message = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        by_digest = await pool.sign_digests(digests_of(PKCS1), key=rsa_key, algorithm=PKCS1)
        again = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
    assert by_message == by_digest == again


@pytest.mark.parametrize(
    "algorithm", [SignatureAlgorithm.RSA_PKCS1_SHA384, SignatureAlgorithm.RSA_PSS_SHA256]
)
async def test_a_token_without_the_bare_mechanism_is_told_which(
    algorithm: SignatureAlgorithm, module: Module, open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    bare = BARE[algorithm.is_deterministic]
    hsm.hide(bare)
    async with open_pool(token=find_token(module, label="sealmint test")) as pool:
        (outcome,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=algorithm)
        assert isinstance(outcome, bytes)  # the mechanism that hashes by itself is there
        outcomes = await pool.sign_digests(digests_of(algorithm), key=rsa_key, algorithm=algorithm)
    for refused in outcomes:
        assert isinstance(refused, SignerFailed)
        assert bare.name in str(refused)
        assert "CKR_MECHANISM_INVALID" in str(refused)


@pytest.mark.parametrize("length", [0, 20, 31, 33, 48])
async def test_a_digest_of_another_length_is_refused(
    length: int, open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    """Inside a DigestInfo the token would sign any octets."""
    before = len(hsm.signatures())
    async with open_pool() as pool:
        with pytest.raises(ValueError, match="32 octets of sha256"):
            await pool.sign_digests([bytes(32), bytes(length)], key=rsa_key, algorithm=PKCS1)
    assert len(hsm.signatures()) == before


async def test_a_transient_error_is_repeated(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.fail_next("C_Sign", CKR_DEVICE_MEMORY, count=2)
    async with open_pool(size=1) as pool:
        (outcome,) = await pool.sign_digests([bytes(32)], key=rsa_key, algorithm=PKCS1)
    assert isinstance(outcome, bytes)


async def test_one_that_stays_is_the_digests_own_outcome(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.fail_next("C_Sign", CKR_DEVICE_MEMORY, count=3)
    async with open_pool(size=1) as pool:
        first, second = await pool.sign_digests([bytes(32), bytes(32)], key=rsa_key, algorithm=PKCS1)
    assert isinstance(first, SignerUnavailable)
    assert isinstance(second, bytes)


async def test_bounds_and_keys_are_those_of_messages(open_pool: OpenPool, rsa_key: KeyReference) -> None:
    async with open_pool(max_waiting=2) as pool:
        with pytest.raises(Overloaded):
            await pool.sign_digests([bytes(32)] * 3, key=rsa_key, algorithm=PKCS1)
        with pytest.raises(KeyMismatch):
            await pool.sign_digests([], key=KeyReference("another"), algorithm=PKCS1)
        assert await pool.sign_digests([], key=rsa_key, algorithm=PKCS1) == []
