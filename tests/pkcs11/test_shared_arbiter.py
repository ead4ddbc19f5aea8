"""Several pools on one table: who begins, who waits, who is woken. All in one process, with a clock that is set."""

from __future__ import annotations

import math
import select
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from engine.pkcs11.arbitration import IN_FLIGHT, LIVE_P99, WANTS, at
from engine.pkcs11.lane_table import SLOTS, STALE_SECONDS, LaneTable, set_parallel
from engine.pkcs11.lanes import SHARED_HOLD, Lane, LaneRules
from engine.pkcs11.shared_arbiter import (
    ALONE_HOLD,
    CEILING_SECONDS,
    GRACE,
    LIVE_WINDOW,
    LOOK_SECONDS,
    SharedArbiter,
)
from tests.pkcs11.scripted_sessions import ScriptedSession, scripted_pool
from tests.pkcs11.test_pool_order import Call, at_work, letters

OBJECTIVE = 0.05


@dataclass
class Token:
    """What some pools share."""

    directory: Path
    now: float = 1000.0
    tables: list[LaneTable] = field(default_factory=list)
    arbiters: list[SharedArbiter] = field(default_factory=list)

    def arbiter(self, parallel: int | None) -> SharedArbiter:
        self.tables.append(LaneTable(self.directory))
        self.arbiters.append(
            SharedArbiter(
                self.tables[-1],
                LaneRules(),
                parallel=parallel,
                live_objective=OBJECTIVE,
                clock=lambda: self.now,
            )
        )
        return self.arbiters[-1]

    def after(self, seconds: float) -> None:
        """So much later every process looks, in the order they came."""
        self.now += seconds
        for arbiter in self.arbiters:
            arbiter.look()

    def is_woken(self, index: int) -> bool:
        return bool(select.select([self.tables[index].wake_descriptor], [], [], 0)[0])


@pytest.fixture
def token(tmp_path: Path) -> Iterator[Token]:
    there = Token(tmp_path / "lanes")
    yield there
    for arbiter in there.arbiters:
        arbiter.close()


def together(*pools: list[ScriptedSession]) -> list[str]:
    return ["".join(at_work(session) for session in sessions) for sessions in pools]


async def test_places_are_counted_over_all_pools(token: Token) -> None:
    one, of_one = scripted_pool(3, chunk=1, arbiter=token.arbiter(3))
    other, of_other = scripted_pool(3, chunk=1, arbiter=token.arbiter(3))
    async with trio.open_nursery() as nursery:
        await Call(one, letters("ab")).begin(nursery)
        await Call(other, letters("xyz")).begin(nursery)
        assert together(of_one, of_other) == ["ab", "x"]
        assert other.statistics().arbiter._replace(live_p99=None) == (3, None, None, 2, 3)
        of_one[0].sign_one()
        assert token.is_woken(1)
        token.arbiters[1].look()
        assert together(of_one, of_other) == ["b", "xy"]
        nursery.cancel_scope.cancel()


async def test_live_work_of_another_process_goes_before_bulk(token: Token) -> None:
    bulk, of_bulk = scripted_pool(2, chunk=1, arbiter=token.arbiter(2))
    live, of_live = scripted_pool(1, chunk=1, arbiter=token.arbiter(2))
    async with trio.open_nursery() as nursery:
        await Call(bulk, letters("abcdef")).begin(nursery)
        await Call(live, letters("L"), Lane.LIVE).begin(nursery)
        assert together(of_bulk, of_live) == ["ab", ""]
        token.now += 0.01
        of_bulk[0].sign_one()
        assert together(of_bulk, of_live) == ["b", ""]  # the place is kept
        token.arbiters[1].look()
        assert together(of_bulk, of_live) == ["b", "L"]
        of_live[0].sign_one()
        token.arbiters[0].look()
        assert together(of_bulk, of_live) == ["cb", ""]
        nursery.cancel_scope.cancel()


async def test_who_does_not_take_his_turn_is_passed_over_until_he_looks_again(token: Token) -> None:
    bulk, of_bulk = scripted_pool(1, chunk=1, arbiter=token.arbiter(1))
    live, of_live = scripted_pool(1, chunk=1, arbiter=token.arbiter(1))
    async with trio.open_nursery() as nursery:
        await Call(bulk, letters("abcdef")).begin(nursery)
        await Call(live, letters("LM"), Lane.LIVE).begin(nursery)
        of_bulk[0].sign_one()
        assert together(of_bulk, of_live) == ["", ""]
        token.now += GRACE
        token.arbiters[0].look()
        assert together(of_bulk, of_live) == ["b", ""]
        of_bulk[0].sign_one()
        assert together(of_bulk, of_live) == ["c", ""]  # at once: nothing is kept for who does not look
        token.arbiters[1].look()
        of_bulk[0].sign_one()
        assert together(of_bulk, of_live) == ["", ""]
        token.arbiters[1].look()
        assert together(of_bulk, of_live) == ["", "L"]
        nursery.cancel_scope.cancel()


async def test_a_stopped_process_does_not_count_until_it_looks_again(token: Token) -> None:
    stopped, of_stopped = scripted_pool(2, chunk=1, arbiter=token.arbiter(2))
    other, of_other = scripted_pool(2, chunk=1, arbiter=token.arbiter(2))
    async with trio.open_nursery() as nursery:
        await Call(stopped, letters("abcd")).begin(nursery)
        await Call(other, letters("xyz")).begin(nursery)
        assert together(of_stopped, of_other) == ["ab", ""]
        token.now += STALE_SECONDS * 1.01
        token.arbiters[1].look()
        assert together(of_stopped, of_other) == ["ab", "xy"]
        token.arbiters[
            0
        ].look()  # it goes on: four calls are in flight, none more begins before two have ended
        of_stopped[0].sign_one()
        of_other[0].sign_one()
        assert together(of_stopped, of_other) == ["b", "y"]
        nursery.cancel_scope.cancel()


async def test_a_closed_pool_gives_everything_back(token: Token) -> None:
    one = token.arbiter(1)
    one.begun(Lane.CRL, 0.01)
    other, of_other = scripted_pool(1, chunk=1, arbiter=token.arbiter(1))
    async with trio.open_nursery() as nursery:
        await Call(other, letters("a")).begin(nursery)
        assert together(of_other) == [""]
        one.close()
        one.ended(Lane.CRL, 0.01, 0.01, 0.01)  # comes too late to be counted
        token.arbiters.remove(one)
        token.after(LOOK_SECONDS)
        assert together(of_other) == ["a"]
        nursery.cancel_scope.cancel()


def live_answers(token: Token, seconds: float, arbiter: SharedArbiter, latency: float) -> None:
    """Live answers for so many seconds, each after so long."""
    for _ in range(round(seconds / LOOK_SECONDS)):
        arbiter.begun(Lane.LIVE, latency)
        arbiter.ended(Lane.LIVE, latency, latency, latency)
        token.after(LOOK_SECONDS)


async def test_bulk_lanes_give_way_to_the_live_lane_and_come_back(token: Token) -> None:
    bulk, live = token.arbiter(None), token.arbiter(None)
    for _ in range(8):
        bulk.begun(Lane.ISSUANCE, 0.02)
    token.after(CEILING_SECONDS)
    assert bulk.statistics().bulk_ceiling is None
    live_answers(token, CEILING_SECONDS, live, 2 * OBJECTIVE)
    assert bulk.statistics().bulk_ceiling == 4
    assert bulk.statistics().live_p99 == pytest.approx(2 * OBJECTIVE, rel=0.25)
    live_answers(token, CEILING_SECONDS, live, 0.9 * OBJECTIVE)
    assert bulk.statistics().bulk_ceiling == 4
    live_answers(token, 2 * LIVE_WINDOW, live, 0.2 * OBJECTIVE)
    live_answers(token, CEILING_SECONDS, live, 0.2 * OBJECTIVE)
    assert 4 < (bulk.statistics().bulk_ceiling or math.inf) < 8
    live_answers(token, 4 * CEILING_SECONDS, live, 0.2 * OBJECTIVE)
    assert bulk.statistics().bulk_ceiling is None


async def test_live_work_that_waits_without_end_is_slow_too(token: Token) -> None:
    bulk, of_bulk = scripted_pool(2, chunk=1, arbiter=token.arbiter(2))
    live, of_live = scripted_pool(1, chunk=1, arbiter=token.arbiter(2))
    async with trio.open_nursery() as nursery:
        await Call(bulk, letters("abcd")).begin(nursery)
        await Call(live, letters("L"), Lane.LIVE).begin(nursery)
        since = token.now
        token.after(CEILING_SECONDS)
        assert together(of_bulk, of_live) == ["ab", ""]
        assert token.tables[1].get(LIVE_P99) > OBJECTIVE
        assert token.now - since > OBJECTIVE
        assert bulk.statistics().arbiter.bulk_ceiling == 1
        nursery.cancel_scope.cancel()


async def test_sessions_are_held_for_less_while_somebody_else_has_work(token: Token) -> None:
    one, other = token.arbiter(4), token.arbiter(4)
    one.begun(Lane.ISSUANCE, 0.02)
    token.after(LOOK_SECONDS)
    assert (one.longest_hold(Lane.ISSUANCE), other.longest_hold(Lane.LIVE)) == (ALONE_HOLD, SHARED_HOLD)
    one.begun(Lane.CRL, 0.02)  # a lane of the same process
    assert one.longest_hold(Lane.ISSUANCE) == SHARED_HOLD


async def test_chunks_are_as_long_as_a_session_may_be_held(token: Token) -> None:
    pool, (session,) = scripted_pool(1, chunk=50, arbiter=token.arbiter(1))
    for call_seconds, expected in ((0.0, 1), (0.04, 5), (0.03, 6), (0.001, 32), (9.0, 1)):
        pool._queue.counts[Lane.ISSUANCE].call_seconds = call_seconds
        async with trio.open_nursery() as nursery:
            await Call(pool, letters("a" * 32)).begin(nursery)
            assert (call_seconds, len(at_work(session))) == (call_seconds, expected)
            nursery.cancel_scope.cancel()
        session.sign_all()


def test_an_operators_limit_holds_until_the_last_has_ended(tmp_path: Path) -> None:
    assert set_parallel(tmp_path, 3) == 0
    first, second = LaneTable(tmp_path), LaneTable(tmp_path)
    assert first.parallel is None
    assert set_parallel(tmp_path, 3) == 2
    first.close()
    third = LaneTable(tmp_path)
    assert (second.parallel, third.parallel) == (3, 3)
    assert set_parallel(tmp_path, None) == 2
    assert third.parallel is None
    set_parallel(tmp_path, 5)
    second.close()
    third.close()
    fourth = LaneTable(tmp_path)
    assert fourth.parallel is None
    fourth.close()


def test_rows_are_ones_own_and_given_back(tmp_path: Path) -> None:
    first, second = LaneTable(tmp_path), LaneTable(tmp_path)
    first.set(at(Lane.CRL, WANTS), 2.0)
    second.set(at(Lane.CRL, IN_FLIGHT), 1.0)
    assert (first.get(at(Lane.CRL, IN_FLIGHT)), second.get(at(Lane.CRL, WANTS))) == (0.0, 0.0)
    assert first.column(at(Lane.CRL, WANTS)) == [2.0, 0.0]
    first.close()
    assert second.column(at(Lane.CRL, WANTS)) == [0.0, 0.0]
    third = LaneTable(tmp_path)
    assert third.slot == first.slot
    second.wake(third.slot)
    assert select.select([third.wake_descriptor], [], [], 0)[0]
    third.take_wakes()
    assert not select.select([third.wake_descriptor], [], [], 0)[0]
    second.close()
    third.close()
    assert [path.name for path in tmp_path.iterdir()] == ["table-1"]


def test_a_full_table_is_an_error(tmp_path: Path) -> None:
    tables = [LaneTable(tmp_path) for _ in range(SLOTS)]
    with pytest.raises(OSError, match="places are taken"):
        LaneTable(tmp_path)
    for table in tables:
        table.close()
