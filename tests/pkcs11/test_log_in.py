"""One log-in for all sessions; what happens when it is lost; and that no PIN is tried twice."""

from __future__ import annotations

import pytest

from engine.algorithms import SignatureAlgorithm
from engine.errors import PinIncorrect, SignerFailed, SignerUnavailable
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.pin import Pin
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
GENERAL_ERROR, PIN_INCORRECT, PIN_LOCKED, DEVICE_REMOVED = 0x05, 0xA0, 0xA4, 0x32
MESSAGES = [b"message %d" % number for number in range(100)]


async def test_a_pool_logs_in_once_and_never_out(open_pool: OpenPool, hsm: HsmShim) -> None:
    in_before, out_before = len(hsm.calls("C_Login")), len(hsm.calls("C_Logout"))
    async with open_pool(size=4) as pool:
        assert len(pool.statistics().sessions) == 4
    assert len(hsm.calls("C_Login")) == in_before + 1
    assert len(hsm.calls("C_Logout")) == out_before


async def test_two_pools_share_a_log_in(open_pool: OpenPool, rsa_key: KeyReference) -> None:
    async with open_pool() as outlives:
        async with open_pool() as closes:
            await closes.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        (outcome,) = await outlives.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
    assert isinstance(outcome, bytes)


async def test_a_wrong_pin_is_tried_once_and_nothing_stays_open(open_pool: OpenPool, hsm: HsmShim) -> None:
    before = {name: len(hsm.calls(name)) for name in ("C_Login", "C_OpenSession", "C_CloseSession")}
    with pytest.raises(PinIncorrect):
        async with open_pool(pin=Pin("wrong"), size=4):
            pass
    assert {name: len(hsm.calls(name)) - count for name, count in before.items()} == dict.fromkeys(before, 1)


async def test_a_restart_is_healed_with_one_log_in(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=3, chunk=4) as pool:
        await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        before = len(hsm.calls("C_Login"))
        hsm.restart()
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        statistics = pool.statistics()
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    assert len(hsm.calls("C_Login")) == before + 1
    assert 1 <= statistics.replacements <= 3
    assert set(statistics.errors) == {"CKR_SESSION_HANDLE_INVALID"}


@pytest.mark.parametrize(
    ("code", "error"),
    [(PIN_INCORRECT, PinIncorrect), (PIN_LOCKED, SignerFailed), (GENERAL_ERROR, SignerFailed)],
)
async def test_a_log_in_refused_after_a_restart_ends_the_pool_for_good(
    code: int, error: type[Exception], open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=2, chunk=4) as pool:
        before = len(hsm.calls("C_Login"))
        hsm.fail_next("C_Login", code)
        hsm.restart()
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        assert {type(outcome) for outcome in outcomes} == {error}
        for _ in range(3):
            with pytest.raises(error):
                await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
    assert len(hsm.calls("C_Login")) == before + 1


async def test_a_log_in_that_never_reached_the_token_is_made_later(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=1) as pool:
        before = len(hsm.calls("C_Login"))
        hsm.fail_next("C_Login", DEVICE_REMOVED)
        hsm.restart()
        (lost,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        with pytest.raises(SignerUnavailable):
            await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        while pool.missing:
            await pool.changed.park()
        (signed,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
    assert isinstance(lost, SignerUnavailable)
    assert isinstance(signed, bytes)
    assert len(hsm.calls("C_Login")) == before + 2
