"""What an operator does to a pool while it signs: another size, a session set apart, a drain."""

from __future__ import annotations

import pytest
import trio
from pkcs11.exceptions import DeviceMemory, SessionHandleInvalid
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.algorithms import SignatureAlgorithm
from engine.errors import InputRejected, Overloaded, SignerUnavailable
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_pool import SessionPool
from engine.pkcs11.session_supply import IDLE_CHECK_SECONDS, SessionSupply
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool
from tests.pkcs11.scripted_sessions import KEY, ScriptedSession, scripted_pool
from tests.pkcs11.test_pool_order import Call, ScriptedSource, at_work, is_closed, letters, signed

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
MESSAGES = [b"message %d" % number for number in range(40)]


class LaterSource(ScriptedSource):
    """Numbers its sessions after those the scripted pool began with."""

    def make(self, number: int) -> ScriptedSession:
        return super().make(10 + number)


def states(pool: SessionPool) -> dict[int, str]:
    return {session.number: session.state for session in pool.statistics().sessions}


async def test_a_smaller_pool_closes_idle_sessions_first_and_no_chunk_is_lost() -> None:
    pool, (first, second, third) = scripted_pool(3, chunk=2)
    pool.quarantine(3)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcdef")).begin(nursery)
        pool.release(3)
        assert [at_work(session) for session in (first, second, third)] == ["ab", "cd", "ef"]
        third.sign_all()
        pool.resize(1)
        assert (is_closed(third), states(pool)) == (True, {1: "busy", 2: "closing"})
        second.sign_all()
        assert (is_closed(second), is_closed(first), pool.missing) == (True, False, 0)
        first.sign_all()
    assert call.outcomes == signed("abcdef")
    assert pool.statistics().wanted == 1


async def test_a_larger_pool_opens_sessions_that_replace_none(autojump_clock: MockClock) -> None:
    pool, _ = scripted_pool(1)
    source = LaterSource()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SessionSupply(pool, source, "scripted token").keep_filled)
        pool.resize(3)
        await wait_all_tasks_blocked()
        assert (len(states(pool)), pool.statistics().replacements) == (3, 0)
        nursery.cancel_scope.cancel()
    with pytest.raises(InputRejected):
        pool.resize(-1)


async def test_a_session_in_quarantine_hands_its_rest_over_and_stays_open(autojump_clock: MockClock) -> None:
    pool, (sick,) = scripted_pool(1)
    source = LaterSource()
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcd")).begin(nursery)
        nursery.start_soon(SessionSupply(pool, source, "scripted token").keep_filled)
        pool.quarantine(sick.number)
        await wait_all_tasks_blocked()
        assert len(source.made) == 1  # another takes its place
        sick.sign_one()  # withdrawn: it finishes the message it is at
        (other,) = source.made
        assert (at_work(sick), at_work(other), is_closed(sick)) == ("", "bcd", False)
        assert states(pool)[sick.number] == "quarantined"
        other.sign_all()
        await wait_all_tasks_blocked()
        assert call.outcomes == signed("abcd")
        pool.release(sick.number)
        assert list(states(pool).values()) == ["idle"]  # one of the two was too many
        nursery.cancel_scope.cancel()


async def test_only_sessions_that_are_there_can_be_set_apart() -> None:
    pool, _ = scripted_pool(2)
    with pytest.raises(InputRejected, match="no such session"):
        pool.quarantine(3)
    with pytest.raises(InputRejected, match="not in quarantine"):
        pool.release(1)


async def test_a_drained_pool_finishes_what_it_has_in_hand_and_refuses_the_rest() -> None:
    pool, (first, second) = scripted_pool(2, chunk=2)
    pool.quarantine(2)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcd")).begin(nursery)
        pool.drain()
        assert is_closed(second)
        first.sign_one()
        assert at_work(first) == "ab"  # to the end of the chunk
        first.sign_one()
    assert call.outcomes is not None
    assert call.outcomes[:2] == signed("ab")
    assert [type(outcome) for outcome in call.outcomes[2:]] == [SignerUnavailable] * 2
    with pytest.raises(SignerUnavailable, match="drained"):
        await pool.sign_many([b"x"], key=KEY, algorithm=PKCS1)
    numbers = pool.statistics()
    assert (numbers.size, numbers.wanted, numbers.drained, numbers.sessions) == (2, 0, True, ())
    pool.undrain()
    assert (pool.missing, pool.statistics().wanted) == (2, 2)


async def test_an_idle_session_that_died_is_replaced_before_work_comes(autojump_clock: MockClock) -> None:
    pool, (dead, well, slow) = scripted_pool(3)
    source = LaterSource()
    dead.found_dead, slow.found_dead = SessionHandleInvalid(), DeviceMemory()
    async with trio.open_nursery() as nursery:
        supply = SessionSupply(pool, source, "scripted token")
        nursery.start_soon(supply.keep_filled)
        nursery.start_soon(supply.check_idle)
        await trio.sleep(1.5 * IDLE_CHECK_SECONDS)
        assert [is_closed(session) for session in (dead, well, slow)] == [True, False, False]
        assert (len(states(pool)), pool.statistics().replacements) == (3, 1)
        assert pool.statistics().errors == {"CKR_SESSION_HANDLE_INVALID": 1}
        nursery.cancel_scope.cancel()


async def test_no_more_is_let_in_than_is_signed_while_its_callers_wait() -> None:
    pool, sessions = scripted_pool(2, chunk=1, timeouts={Lane.LIVE: 5e-6})  # a scripted call takes 1 µs
    assert pool.most_waiting(Lane.LIVE) == 100
    async with trio.open_nursery() as nursery:
        await Call(pool, letters("ab"), Lane.LIVE).begin(nursery)
        for session in sessions:
            session.sign_one()
        assert (pool.most_waiting(Lane.LIVE), pool.most_waiting(Lane.ISSUANCE)) == (10, 100)
        await Call(pool, letters("c" * 30), Lane.LIVE).begin(nursery)  # alone in the lane: it is let in
        with pytest.raises(Overloaded, match="at most 10 messages wait in the lane"):
            await pool.sign_many([b"x"], key=KEY, algorithm=PKCS1, lane=Lane.LIVE)
        assert pool.statistics().lanes[Lane.LIVE].refused == 1
        nursery.cancel_scope.cancel()


async def all_there(pool: SessionPool, number: int) -> None:
    while [*states(pool).values()] != ["idle"] * number:
        await pool.changed.park()


async def test_a_real_pool_is_resized_drained_and_undrained_while_it_signs(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.latency("C_Sign", 2_000)
    results: list[list[object]] = []

    async def sign(pool: SessionPool) -> None:
        results.append([*await pool.sign_many(MESSAGES, key=rsa_key, algorithm=PKCS1)])

    async with open_pool(size=1, chunk=4) as pool:
        for size in (4, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sign, pool)
                pool.resize(size)
            await all_there(pool, size)
        pool.drain()
        while pool.statistics().sessions:
            await pool.changed.park()
        with pytest.raises(SignerUnavailable, match="drained"):
            await sign(pool)
        pool.undrain()
        await all_there(pool, 2)
        await sign(pool)
        assert pool.statistics().replacements == 0
    assert [len(signatures) for signatures in results] == [40, 40, 40]
    assert all(isinstance(signature, bytes) for signatures in results for signature in signatures)


async def test_a_token_that_restarted_is_healed_before_the_next_call(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    async with open_pool(size=2) as pool:
        log_ins = len(hsm.calls("C_Login"))
        hsm.restart()
        while pool.statistics().replacements < 2:
            await pool.changed.park()
        assert len(hsm.calls("C_Login")) == log_ins + 1
        errors = dict(pool.statistics().errors)
        (signature,) = await pool.sign_many([b"x"], key=rsa_key, algorithm=PKCS1)
        assert isinstance(signature, bytes)
        assert pool.statistics().errors == errors  # no caller met the restart
