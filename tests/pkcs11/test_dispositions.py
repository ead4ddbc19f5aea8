"""Each disposition is acted on, with errors that the pretend HSM injects into a real token."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from engine.algorithms import SignatureAlgorithm
from engine.errors import SignerFailed, SignerUnavailable
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.session import RETRIES
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
DATA_LEN_RANGE, DEVICE_ERROR, DEVICE_MEMORY, KEY_TYPE_INCONSISTENT = 0x21, 0x30, 0x31, 0x63
VENDOR_DEFINED = 0x80000001
MESSAGES = [b"message %d" % number for number in range(10)]


@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
async def test_a_transient_error_is_retried_on_the_same_session(
    function: str, open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=1) as pool:
        hsm.fail_next(function, DEVICE_MEMORY, RETRIES)
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        statistics = pool.statistics()
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    assert statistics.replacements == 0
    assert statistics.errors == {"CKR_DEVICE_MEMORY": RETRIES}


async def test_a_transient_error_that_stays_fails_only_its_item(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=1) as pool:
        hsm.fail_next("C_Sign", DEVICE_MEMORY, RETRIES + 1)
        first, *others = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        statistics = pool.statistics()
    assert isinstance(first, SignerUnavailable)
    assert all(isinstance(outcome, bytes) for outcome in others)
    assert statistics.replacements == 0


@pytest.mark.parametrize("code", [DEVICE_ERROR, VENDOR_DEFINED])
@pytest.mark.parametrize("function", ["C_SignInit", "C_Sign"])
async def test_a_session_that_is_of_no_use_is_replaced(
    function: str, code: int, open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    before = len(hsm.signatures())
    async with open_pool(size=1) as pool:
        hsm.fail_next(function, code)
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        statistics = pool.statistics()
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    assert statistics.replacements == 1
    assert len({line.session for line in hsm.signatures()[before:] if not line.discarded}) == 1
    assert sum(statistics.errors.values()) == 1


async def test_a_message_at_fault_fails_alone(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=1) as pool:
        hsm.fail_next("C_Sign", DATA_LEN_RANGE)
        first, *others = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        statistics = pool.statistics()
    assert isinstance(first, SignerFailed)
    assert all(isinstance(outcome, bytes) for outcome in others)
    assert statistics.replacements == 0


async def test_an_error_that_will_not_go_away_ends_the_pool(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=1, chunk=4) as pool:
        await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        hsm.fail_next("C_SignInit", KEY_TYPE_INCONSISTENT)
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        assert all(isinstance(outcome, SignerFailed) for outcome in outcomes)
        with pytest.raises(SignerFailed, match="CKR_KEY_TYPE_INCONSISTENT"):
            await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)


async def test_a_message_at_which_every_session_fails_is_given_up(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=2) as pool:
        arm = hsm.fail_one_in("C_Sign", DEVICE_ERROR, 1)
        (outcome,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        hsm.disarm(arm)
        assert isinstance(outcome, SignerUnavailable)
        (outcome,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        assert isinstance(outcome, bytes)


async def test_with_errors_at_random_every_message_is_signed_and_every_signature_logged(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.seed(2)
    before = len(hsm.signatures())
    messages = [b"message %d" % number for number in range(300)]
    async with open_pool(size=2, chunk=16) as pool:
        hsm.fail_one_in("C_Sign", DEVICE_ERROR, 20)
        outcomes = await pool.sign_many(messages, key=rsa_key, algorithm=PKCS1)
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    logged = hsm.signatures()[before:]
    returned = Counter(line.digest for line in logged if not line.discarded)
    assert returned == Counter(hashlib.sha256(message).hexdigest() for message in messages)
    assert any(line.discarded for line in logged)
