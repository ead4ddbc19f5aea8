from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Mechanism

from engine.algorithms import SignatureAlgorithm
from engine.errors import SignerFailed
from engine.pkcs11.keys import KeyReference, KeyType
from engine.pkcs11.mechanisms import encode_ecdsa_value
from engine.pkcs11.module import Module
from engine.pkcs11.token import find_token
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool

RSA = [algorithm for algorithm in SignatureAlgorithm if algorithm.is_rsa]
CASES = [(KeyType.RSA_2048, algorithm) for algorithm in RSA]
CASES += [
    (KeyType.RSA_3072, RSA[0]),
    (KeyType.RSA_4096, RSA[0]),
    (KeyType.RSA_4096, SignatureAlgorithm.RSA_PSS_SHA512),
]
CASES += [
    (KeyType.EC_P256, SignatureAlgorithm.ECDSA_P256_SHA256),
    (KeyType.EC_P384, SignatureAlgorithm.ECDSA_P384_SHA384),
]
COMBINED = {
    SignatureAlgorithm.RSA_PKCS1_SHA256: Mechanism.SHA256_RSA_PKCS,
    SignatureAlgorithm.RSA_PKCS1_SHA384: Mechanism.SHA384_RSA_PKCS,
    SignatureAlgorithm.RSA_PKCS1_SHA512: Mechanism.SHA512_RSA_PKCS,
    SignatureAlgorithm.RSA_PSS_SHA256: Mechanism.SHA256_RSA_PKCS_PSS,
    SignatureAlgorithm.RSA_PSS_SHA384: Mechanism.SHA384_RSA_PKCS_PSS,
    SignatureAlgorithm.RSA_PSS_SHA512: Mechanism.SHA512_RSA_PKCS_PSS,
}
MESSAGES = [b"", b"\0", b"a message with a zero \0 inside", "工商憑證".encode() * 200]


def verify(public_key: bytes, algorithm: SignatureAlgorithm, signature: bytes, message: bytes) -> None:
    """Let cryptography verify; it raises InvalidSignature."""
    key = load_der_public_key(public_key)
    hash_algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[
        algorithm.hash_name
    ]
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA(hash_algorithm))
        return
    assert isinstance(key, rsa.RSAPublicKey)
    pss = padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size)
    key.verify(signature, message, padding.PKCS1v15() if algorithm.is_deterministic else pss, hash_algorithm)


@pytest.mark.judge("cryptography")
@pytest.mark.cps("6.1.5")
@pytest.mark.parametrize(("key_type", "algorithm"), CASES)
async def test_signatures_verify(
    key_type: KeyType,
    algorithm: SignatureAlgorithm,
    public_keys: Mapping[KeyType, bytes],
    open_pool: OpenPool,
    hsm: HsmShim,
) -> None:
    key = KeyReference(key_type.value)
    before = len(hsm.signatures())
    async with open_pool(keys=[key], size=1) as pool:
        signatures = await pool.sign_many(MESSAGES, key=key, algorithm=algorithm)
    for message, signature in zip(MESSAGES, signatures, strict=True):
        assert isinstance(signature, bytes)
        verify(public_keys[key_type], algorithm, signature, message)
    digests = [hashlib.new(algorithm.hash_name, message).hexdigest() for message in MESSAGES]
    assert [line.digest for line in hsm.signatures()[before:]] == digests


@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("algorithm", RSA)
async def test_without_the_combined_mechanism_the_hash_is_made_here(
    algorithm: SignatureAlgorithm,
    module: Module,
    public_keys: Mapping[KeyType, bytes],
    open_pool: OpenPool,
    rsa_key: KeyReference,
    hsm: HsmShim,
) -> None:
    hsm.hide(COMBINED[algorithm])
    before = len(hsm.signatures())
    async with open_pool(token=find_token(module, label="sealmint test"), size=1) as pool:
        signatures = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=algorithm)
    for message, signature in zip(MESSAGES, signatures, strict=True):
        assert isinstance(signature, bytes)
        verify(public_keys[KeyType.RSA_2048], algorithm, signature, message)
    bare = Mechanism.RSA_PKCS if algorithm.is_deterministic else Mechanism.RSA_PKCS_PSS
    assert {line.mechanism for line in hsm.signatures()[before:]} == {bare}
    digests = [hashlib.new(algorithm.hash_name, message).hexdigest() for message in MESSAGES]
    assert [line.digest for line in hsm.signatures()[before:]] == digests


async def test_a_token_with_neither_mechanism_is_named(
    module: Module, open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.hide(Mechanism.SHA256_RSA_PKCS)
    hsm.hide(Mechanism.RSA_PKCS)
    async with open_pool(token=find_token(module, label="sealmint test")) as pool:
        (outcome,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=SignatureAlgorithm.RSA_PKCS1_SHA256)
    assert isinstance(outcome, SignerFailed)
    assert "CKR_MECHANISM_INVALID" in str(outcome)


@pytest.mark.judge("openssl")
async def test_openssl_verifies(
    public_keys: Mapping[KeyType, bytes], open_pool: OpenPool, tmp_path: Path
) -> None:
    key = KeyReference(KeyType.EC_P384.value)
    async with open_pool(keys=[key], size=1) as pool:
        (signature,) = await pool.sign_many([b"tbs"], key=key, algorithm=SignatureAlgorithm.ECDSA_P384_SHA384)
    assert isinstance(signature, bytes)
    for name, content in (
        ("key", public_keys[KeyType.EC_P384]),
        ("signature", signature),
        ("message", b"tbs"),
    ):
        (tmp_path / name).write_bytes(content)
    command = [
        "openssl",
        "dgst",
        "-sha384",
        "-verify",
        "key",
        "-keyform",
        "DER",
        "-signature",
        "signature",
        "message",
    ]
    verdict = await trio.run_process(command, cwd=tmp_path, capture_stdout=True, check=False)
    assert (verdict.returncode, verdict.stdout) == (0, b"Verified OK\n")


async def test_four_threads_sign_thousands_of_messages(
    public_keys: Mapping[KeyType, bytes], open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    before = len(hsm.signatures())
    messages = [b"message %d" % number for number in range(3000)]
    async with open_pool(size=4, chunk=8) as pool:
        signatures = await pool.sign_many(
            messages, key=rsa_key, algorithm=SignatureAlgorithm.RSA_PKCS1_SHA256
        )
    for message, signature in zip(messages, signatures, strict=True):
        assert isinstance(signature, bytes)
        verify(public_keys[KeyType.RSA_2048], SignatureAlgorithm.RSA_PKCS1_SHA256, signature, message)
    logged = hsm.signatures()[before:]
    assert len({line.session for line in logged}) == 4
    assert Counter(line.digest for line in logged) == Counter(hashlib.sha256(m).hexdigest() for m in messages)


@given(st.integers(1, 2**384 - 1), st.integers(1, 2**384 - 1))
def test_r_and_s_survive_the_turn_into_der(r: int, s: int) -> None:
    assert decode_dss_signature(encode_ecdsa_value(r.to_bytes(48, "big") + s.to_bytes(48, "big"))) == (r, s)
