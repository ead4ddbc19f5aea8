"""Who goes first, who waits, who is refused: the pool with scripted sessions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from pkcs11.exceptions import DeviceError
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.algorithms import SignatureAlgorithm
from engine.errors import (
    ConfigurationInvalid,
    KeyMismatch,
    Overloaded,
    PoolClosed,
    SignerUnavailable,
    TokenError,
)
from engine.pkcs11.arbiter import InProcessArbiter
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_pool import PoolExhausted, SessionPool
from engine.pkcs11.session_slots import NoFreePlace
from engine.pkcs11.session_supply import LONGEST_PAUSE, SessionSupply
from tests.pkcs11.scripted_sessions import KEY, ScriptedSession, scripted_pool

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256


class Call:
    """One call of sign_many in a task of its own, and what came of it."""

    def __init__(self, pool: SessionPool, messages: Sequence[bytes], lane: Lane = Lane.ISSUANCE) -> None:
        self.pool, self.messages, self.lane = pool, messages, lane
        self.scope = trio.CancelScope()
        self.outcomes: list[bytes | TokenError] | None = None

    async def run(self) -> None:
        with self.scope:
            self.outcomes = await self.pool.sign_many(self.messages, key=KEY, algorithm=PKCS1, lane=self.lane)

    async def begin(self, nursery: trio.Nursery) -> Call:
        nursery.start_soon(self.run)
        await wait_all_tasks_blocked()
        return self


def letters(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


def signed(text: str) -> list[bytes]:
    return [b"signed " + letter for letter in letters(text)]


def is_closed(session: ScriptedSession) -> bool:
    return session.is_closed


def stuck(pool: SessionPool) -> int:
    return pool.statistics().stuck


def at_work(session: ScriptedSession) -> str:
    return b"".join(session.chunk.messages).decode() if session.chunk else ""


async def test_a_call_is_split_into_chunks_and_comes_back_in_order() -> None:
    pool, (first, second) = scripted_pool(2, chunk=3)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcdefgh")).begin(nursery)
        assert (at_work(first), at_work(second)) == ("abc", "def")
        second.sign_all()
        assert (at_work(first), at_work(second)) == ("abc", "gh")
        second.sign_all()
        first.sign_all()
    assert call.outcomes == signed("abcdefgh")


async def test_urgent_work_overtakes_bulk_at_the_next_chunk() -> None:
    pool, (session,) = scripted_pool(1, chunk=2)
    async with trio.open_nursery() as nursery:
        bulk = await Call(pool, letters("abcd")).begin(nursery)
        urgent = await Call(pool, letters("U"), Lane.URGENT).begin(nursery)
        assert at_work(session) == "ab"
        session.sign_all()
        assert at_work(session) == "U"
        session.sign_all()
        await wait_all_tasks_blocked()
        assert (urgent.outcomes, bulk.outcomes) == (signed("U"), None)
        session.sign_all()
    assert bulk.outcomes == signed("abcd")


async def test_a_full_lane_refuses_and_takes_nothing_in() -> None:
    pool, (session,) = scripted_pool(1, chunk=2, max_waiting=4)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcd")).begin(nursery)
        assert pool.statistics().lanes[Lane.ISSUANCE].waiting == 2
        with pytest.raises(Overloaded, match="2 messages wait in the issuance lane, 3 more do not fit"):
            await pool.sign_many(letters("efg"), key=KEY, algorithm=PKCS1)
        urgent = await Call(pool, letters("U"), Lane.URGENT).begin(nursery)  # the other lane has room
        for _ in range(3):
            session.sign_all()
    assert (call.outcomes, urgent.outcomes) == (signed("abcd"), signed("U"))
    assert [pool.statistics().lanes[lane].waiting_peak for lane in (Lane.URGENT, Lane.ISSUANCE)] == [1, 4]
    assert pool.statistics().lanes[Lane.ISSUANCE].refused == 3


async def test_a_cancelled_caller_leaves_the_pool_whole() -> None:
    pool, (session,) = scripted_pool(1, chunk=2)
    async with trio.open_nursery() as nursery:
        leaves = await Call(pool, letters("abcdef")).begin(nursery)
        stays = await Call(pool, letters("x")).begin(nursery)
        leaves.scope.cancel()
        await wait_all_tasks_blocked()
        assert pool.statistics().lanes[Lane.ISSUANCE].waiting == 1  # the chunks not begun are gone
        assert at_work(session) == "ab"  # the one begun is finished on its session
        session.sign_all()
        assert at_work(session) == "x"
        session.sign_all()
    assert (leaves.outcomes, stays.outcomes) == (None, signed("x"))
    assert [s.state for s in pool.statistics().sessions] == ["idle"]


async def test_a_cancelled_callers_chunk_is_not_tried_again() -> None:
    pool, (session, other) = scripted_pool(2)
    async with trio.open_nursery() as nursery:
        leaves = await Call(pool, letters("a")).begin(nursery)
        leaves.scope.cancel()
        await wait_all_tasks_blocked()
        session.come_back(DeviceError())
    assert at_work(other) == ""
    assert pool.statistics().lanes[Lane.ISSUANCE].waiting == 0


async def test_the_arbiter_is_asked_before_every_chunk() -> None:
    arbiter = InProcessArbiter(limit=2, kept_for_urgent=1)
    pool, (first, second, third) = scripted_pool(3, chunk=1, arbiter=arbiter)
    async with trio.open_nursery() as nursery:
        bulk = await Call(pool, letters("abc")).begin(nursery)
        assert [at_work(s) for s in (first, second, third)] == ["a", "", ""]
        urgent = await Call(pool, letters("UV"), Lane.URGENT).begin(nursery)
        assert [at_work(s) for s in (first, second, third)] == ["a", "U", ""]
        arbiter.set_limit(3)
        assert [at_work(s) for s in (first, second, third)] == ["a", "U", "V"]
        for session in (first, second, third, first, second, third):
            session.sign_all()
    assert (bulk.outcomes, urgent.outcomes) == (signed("abc"), signed("UV"))


def test_the_bulk_lane_always_keeps_one_call() -> None:
    with pytest.raises(ConfigurationInvalid, match="at least one call"):
        InProcessArbiter(limit=2, kept_for_urgent=2)


async def test_a_key_the_pool_was_not_opened_with_is_refused() -> None:
    pool, _ = scripted_pool(1)
    with pytest.raises(KeyMismatch, match="another"):
        await pool.sign_many([b"x"], key=KeyReference("another"), algorithm=PKCS1)


async def test_no_messages_no_signatures() -> None:
    pool, _ = scripted_pool(1)
    assert await pool.sign_many([], key=KEY, algorithm=PKCS1) == []


async def test_closing_stops_at_the_next_message_and_keeps_what_is_signed() -> None:
    pool, (session,) = scripted_pool(1, chunk=2)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abc")).begin(nursery)
        session.sign_one()
        pool.close()
        assert not is_closed(session)
        session.come_back(None)  # withdrawn: the thread stops before the next message
        assert is_closed(session)
        assert pool.is_empty
    assert call.outcomes is not None
    assert call.outcomes[0] == b"signed a"
    assert [type(outcome) for outcome in call.outcomes[1:]] == [PoolClosed, PoolClosed]
    with pytest.raises(PoolClosed):
        await pool.sign_many([b"x"], key=KEY, algorithm=PKCS1)


class ScriptedSource:
    """Makes scripted sessions; each opening takes the next failure."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.made: list[ScriptedSession] = []

    async def ensure_logged_in(self) -> None:
        await trio.lowlevel.checkpoint()

    def make(self, number: int) -> ScriptedSession:
        self.made.append(ScriptedSession(number, self.failures))
        return self.made[-1]


async def test_a_failing_session_hands_its_rest_over_and_is_replaced(autojump_clock: MockClock) -> None:
    pool, (first,) = scripted_pool(1)
    source = ScriptedSource(DeviceError(), DeviceError())
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcd")).begin(nursery)
        nursery.start_soon(SessionSupply(pool, source, "scripted token").keep_filled)
        first.sign_one()
        first.come_back(DeviceError())
        await wait_all_tasks_blocked()
        assert is_closed(first)
        await trio.sleep(LONGEST_PAUSE)
        await wait_all_tasks_blocked()
        # no session was left while two openings failed, so what waited failed rather than waiting on
        assert call.outcomes is not None
        assert call.outcomes[0] == b"signed a"
        assert all(isinstance(outcome, SignerUnavailable) for outcome in call.outcomes[1:])
        assert (len(source.made), pool.missing, pool.statistics().replacements) == (3, 0, 1)
        assert pool.statistics().errors == {"CKR_DEVICE_ERROR": 2}
        nursery.cancel_scope.cancel()


async def test_a_stuck_session_is_found_by_its_missing_sign_of_life(autojump_clock: MockClock) -> None:
    pool, (first, second) = scripted_pool(2, chunk=4)
    pool.quarantine(second.number)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcd")).begin(nursery)
        pool.release(second.number)
        nursery.start_soon(SessionSupply(pool, ScriptedSource(), "scripted token").watch, 1.0)
        for _ in range(2):
            await trio.sleep(0.9)  # slow, but alive
            first.sign_one()
        assert stuck(pool) == 0
        await trio.sleep(0.9)
        assert stuck(pool) == 0
        await trio.sleep(0.6)
        assert stuck(pool) == 1
        assert at_work(second) == "cd"  # what was signed is kept, the rest goes to another session
        second.sign_all()
        await wait_all_tasks_blocked()
        assert call.outcomes == signed("abcd")
        assert not is_closed(first)
        first.sign_one()  # the call comes back after all: it is unheeded, and the session closes
        assert is_closed(first)
        assert (stuck(pool), pool.statistics().stuck_ever) == (0, 1)
        nursery.cancel_scope.cancel()
    assert call.outcomes == signed("abcd")


async def test_k_stuck_sessions_end_the_pool(autojump_clock: MockClock) -> None:
    pool, sessions = scripted_pool(3, chunk=1, max_stuck=2)
    async with trio.open_nursery() as nursery:
        call = await Call(pool, letters("abcd")).begin(nursery)
        nursery.start_soon(SessionSupply(pool, ScriptedSource(), "scripted token").watch, 1.0)
        await trio.sleep(0.7)
        sessions[2].sign_all()  # takes "d" and stays alive
        await trio.sleep(0.6)
        with pytest.raises(PoolExhausted, match="2 sessions are stuck"):
            await pool.sign_many([b"x"], key=KEY, algorithm=PKCS1)
        sessions[2].sign_all()
        await wait_all_tasks_blocked()
        assert call.outcomes is not None
        assert [type(outcome) for outcome in call.outcomes] == [PoolExhausted, PoolExhausted, bytes, bytes]
        nursery.cancel_scope.cancel()


async def test_a_cap_reached_at_the_start_makes_the_pool_smaller() -> None:
    class Capped(ScriptedSource):
        def make(self, number: int) -> ScriptedSession:
            if len(self.made) == 2:
                raise NoFreePlace("no place")
            return super().make(number)

    pool, _ = scripted_pool(0)
    pool.resize(5)
    await SessionSupply(pool, Capped(), "scripted token").fill()
    assert (pool.size, pool.missing) == (2, 0)
