"""Calls that do not come back, on a real token whose C_Sign the pretend HSM holds."""

from __future__ import annotations

import sys

import pytest
import trio

from engine.algorithms import SignatureAlgorithm
from engine.errors import TokenError
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.session_pool import PoolExhausted, SessionPool
from engine.pkcs11.session_slots import NoFreePlace, SessionSlots
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool
from tests.softhsm import SoftHsmToken

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
MESSAGES = [b"message %d" % number for number in range(8)]
TIMEOUT = 0.5
"""Seconds; far longer than a signature and a start of a thread take, so that nothing else is ever found stuck."""


async def until_none_is_stuck(pool: SessionPool) -> None:
    while pool.stuck:
        await pool.changed.park()


async def test_a_stuck_session_is_replaced_and_closed_when_it_comes_back(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    closed = len(hsm.calls("C_CloseSession"))
    async with open_pool(size=1, call_timeout=TIMEOUT) as pool:
        arm = hsm.hang_next("C_Sign")
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        during = pool.statistics()
        assert len(hsm.calls("C_CloseSession")) == closed  # never closed while a thread is inside
        hsm.disarm(arm)
        await until_none_is_stuck(pool)
        after = pool.statistics()
        assert len(hsm.calls("C_CloseSession")) == closed + 1
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    assert (during.stuck, during.stuck_ever, during.replacements) == (1, 1, 1)
    assert sorted(session.state for session in during.sessions) == ["idle", "stuck"]
    assert [session.state for session in after.sessions] == ["idle"]
    assert (after.stuck, after.stuck_ever) == (0, 1)


async def test_a_stuck_session_keeps_its_place_until_it_comes_back(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    slots = SessionSlots(hsm.control_path.parent / "stuck", 3)
    async with open_pool(size=1, call_timeout=TIMEOUT, slots=slots) as pool:
        arm = hsm.hang_next("C_Sign")
        await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        with pytest.raises(NoFreePlace):
            slots.take()
        hsm.disarm(arm)
        await until_none_is_stuck(pool)
        slots.take().release()


async def test_only_the_message_that_hung_is_signed_twice(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    before = len(hsm.signatures())
    async with open_pool(size=1, call_timeout=TIMEOUT) as pool:
        arm = hsm.hang_next("C_Sign")
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        hsm.disarm(arm)
        await until_none_is_stuck(pool)
    assert all(isinstance(outcome, bytes) for outcome in outcomes)
    returned = [line.digest for line in hsm.signatures()[before:] if not line.discarded]
    # the one that hung was signed by the replacement, and by itself when it came back; no other twice
    assert len(returned) == len(MESSAGES) + 1
    assert len(set(returned)) == len(MESSAGES)


async def test_too_many_stuck_sessions_end_the_pool(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=2, call_timeout=TIMEOUT, max_stuck=2, chunk=1) as pool:
        arm = hsm.hang_next("C_Sign", 2)
        outcomes = await pool.sign_many(MESSAGES[:2], key=rsa_key, algorithm=PKCS1)
        assert any(isinstance(outcome, PoolExhausted) for outcome in outcomes)
        assert all(isinstance(outcome, bytes | PoolExhausted) for outcome in outcomes)
        with pytest.raises(PoolExhausted, match="2 sessions are stuck"):
            await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        hsm.disarm(arm)
        await until_none_is_stuck(pool)


async def test_a_log_in_that_hangs_asks_for_another_process(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.pkcs11.session_supply.OPENING_TIMEOUT", TIMEOUT)
    arm = hsm.hang_next("C_Login")
    with pytest.raises(PoolExhausted, match="log-in"):
        async with open_pool(call_timeout=TIMEOUT):
            pass
    hsm.disarm(arm)


async def test_an_opening_that_hangs_counts_as_stuck(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pool(size=1, call_timeout=60) as pool:
        monkeypatch.setattr("engine.pkcs11.session_supply.OPENING_TIMEOUT", TIMEOUT)
        hsm.fail_next("C_Sign", 0x30)
        arm = hsm.hang_next("C_FindObjectsInit")
        outcomes = await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)
        assert pool.stuck == 1
        assert all(isinstance(outcome, TokenError) for outcome in outcomes)
        while pool.missing:
            await pool.changed.park()
        (outcome,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        assert isinstance(outcome, bytes)
        hsm.disarm(arm)
        await until_none_is_stuck(pool)


PROGRAM = """
import sys, trio
from pathlib import Path
from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import PoolExhausted, open_session_pool
from engine.pkcs11.token import find_token

async def main():
    token = find_token(load_module(Path(sys.argv[1])), label=sys.argv[2])
    key = KeyReference("rsa-2048")
    options = dict(keys=[key], size=1, call_timeout=0.2, max_stuck=1, max_waiting=10)
    async with open_session_pool(token, Pin(sys.stdin.read()), **options) as pool:
        (outcome,) = await pool.sign_many([b"x"], key=key, algorithm=SignatureAlgorithm.RSA_PKCS1_SHA256)
        raise outcome

try:
    trio.run(main)
except PoolExhausted:
    sys.exit(3)
"""


async def test_a_stuck_call_does_not_keep_the_process_from_ending(
    softhsm_token: SoftHsmToken, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    arm = hsm.hang_next("C_Sign")
    command = [sys.executable, "-c", PROGRAM, str(softhsm_token.module_path), softhsm_token.label]
    ended = await trio.run_process(
        command,
        stdin=softhsm_token.pin.reveal(),
        env=softhsm_token.process_environment,
        check=False,
        capture_stderr=True,
    )
    hsm.disarm(arm)
    assert (ended.returncode, ended.stderr) == (3, b"")
