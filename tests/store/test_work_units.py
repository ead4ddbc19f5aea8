"""Leases: one holder at a time, proved by the fence; what is reserved comes first, as it is stored."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from engine.errors import LeaseLost
from engine.store.certificates import reserve, unit_items
from engine.store.database import Store
from engine.store.runs import totals
from engine.store.schema import reservation, serial_claim, signature, work_unit
from engine.store.work_units import (
    abort_unreserved,
    count_open,
    lease_next,
    mark_completed,
    mark_reserved,
    prolong,
    release_holder,
)
from tests.store.plans import (
    LEASE,
    NOW,
    complete_unit,
    contents,
    count,
    lease,
    plan,
    reserve_unit,
    reserved_for,
)

LATER = NOW + LEASE
LONG_AGO = NOW - timedelta(days=1)


def try_lease(store: Store, run_id: int, now: object = NOW, *, reserved_only: bool = False) -> object:
    with store.write() as connection:
        return lease_next(
            connection,
            run_id,
            holder="other",
            now=now,  # type: ignore[arg-type]  # a time
            until=LATER + LEASE,
            reserved_only=reserved_only,
        )


def open_units(store: Store, run_id: int) -> int:
    with store.read() as connection:
        return count_open(connection, run_id)


def test_each_unit_is_leased_once(store: Store) -> None:
    run_id = plan(store, 3)
    plan(store, 2)
    leases = [lease(store, run_id, holder=f"worker {n}") for n in range(3)]
    assert len({held.unit_id for held in leases}) == 3
    assert [held.unit_id for held in leases] == sorted(held.unit_id for held in leases)
    assert {(held.run_id, held.fence, held.reserved) for held in leases} == {(run_id, 1, False)}
    assert try_lease(store, run_id) is None


def test_lease_ends_at_its_time_and_is_taken_over_with_a_higher_fence(store: Store) -> None:
    run_id = plan(store, 1)
    first = lease(store, run_id)
    assert try_lease(store, run_id, LATER - timedelta(microseconds=1)) is None
    second = lease(store, run_id, holder="b", now=LATER)
    third = lease(store, run_id, holder="c", now=LATER + LEASE)
    assert first.unit_id == second.unit_id == third.unit_id
    assert [first.fence, second.fence, third.fence] == [1, 2, 3]


def test_older_fence_can_do_nothing(store: Store) -> None:
    run_id = plan(store, 1)
    older = lease(store, run_id)
    newer = lease(store, run_id, holder="b", now=LATER)
    before = contents(store)
    with pytest.raises(LeaseLost, match=f"work unit {older.unit_id}: .*fence 1"), store.write() as connection:
        prolong(connection, older, LATER + LEASE)
    with pytest.raises(LeaseLost):
        reserve_unit(store, older)
    with pytest.raises(LeaseLost):
        complete_unit(store, older)
    assert contents(store) == before
    reserve_unit(store, newer)
    with pytest.raises(LeaseLost):
        complete_unit(store, older)
    assert count(store, signature) == 0
    assert len(complete_unit(store, newer)) == 2


def test_lost_lease_takes_back_everything_done_with_it(store: Store) -> None:
    """Also where the writes came before the fence was looked at."""
    run_id = plan(store, 1)
    older = lease(store, run_id)
    lease(store, run_id, holder="b", now=LATER)
    with pytest.raises(LeaseLost), store.write() as connection:
        reserve(connection, [reserved_for(older, 1)])
        mark_reserved(connection, older, LATER)
    assert (count(store, reservation), count(store, serial_claim)) == (0, 0)


def test_unit_is_completed_once(store: Store) -> None:
    run_id = plan(store, 1)
    held = lease(store, run_id)
    reserve_unit(store, held)
    complete_unit(store, held)
    with pytest.raises(LeaseLost), store.write() as connection:
        mark_completed(connection, held, issued=2, failed=0)
    assert try_lease(store, run_id, LATER + LEASE) is None
    with store.read() as connection:
        (row,) = connection.execute(select(work_unit)).all()
    assert (row.state, row.holder, row.lease_until) == ("completed", None, None)


def test_heartbeat_prolongs(store: Store) -> None:
    run_id = plan(store, 1)
    held = lease(store, run_id)
    with store.write() as connection:
        prolong(connection, held, LATER + timedelta(seconds=1))
    assert try_lease(store, run_id, LATER) is None
    assert try_lease(store, run_id, LATER + timedelta(seconds=1)) is not None


def test_reserved_units_come_first_with_the_tbs_as_stored(store: Store) -> None:
    run_id = plan(store, 3)
    leases = [lease(store, run_id) for _ in range(2)]
    made = reserve_unit(store, leases[1])
    taken_over = lease(store, run_id, holder="b", now=LATER)
    assert (taken_over.unit_id, taken_over.reserved, taken_over.fence) == (leases[1].unit_id, True, 2)
    with store.read() as connection:
        items = unit_items(connection, taken_over.unit_id)
    assert [(i.item_id, i.tbs, i.not_after) for i in items] == [(r.item_id, r.tbs, r.not_after) for r in made]
    assert reserve_unit(store, taken_over) == []  # nothing is made anew
    complete_unit(store, taken_over)
    assert count(store, serial_claim) == 2
    planned = lease(store, run_id, holder="b", now=LATER)
    assert (planned.unit_id, planned.reserved) == (3, False)  # planned before expired


def test_aborted_run_hands_out_reserved_units_only(store: Store) -> None:
    run_id = plan(store, 4)
    done, reserved, _leased = (lease(store, run_id) for _ in range(3))
    reserve_unit(store, done)
    complete_unit(store, done)
    reserve_unit(store, reserved)
    assert try_lease(store, run_id, LATER, reserved_only=True) is not None
    assert try_lease(store, run_id, LATER, reserved_only=True) is None
    assert open_units(store, run_id) == 3
    with store.write() as connection:
        assert abort_unreserved(connection, run_id) == 2
    assert open_units(store, run_id) == 1
    assert try_lease(store, run_id, LATER + LEASE) is not None
    with store.read() as connection:
        counted = totals(connection, run_id)
    assert counted == {"items": 8, "issued": 2, "failed": 0, "aborted": 4, "pending": 2}


def test_aborted_unit_refuses_the_worker_that_had_it(store: Store) -> None:
    run_id = plan(store, 1)
    held = lease(store, run_id)
    with store.write() as connection:
        abort_unreserved(connection, run_id)
    with pytest.raises(LeaseLost):
        reserve_unit(store, held)
    assert count(store, reservation) == 0


def test_leases_of_a_dead_process_are_free_at_once(store: Store) -> None:
    run_id, other_run = plan(store, 3), plan(store, 1)
    dead = [lease(store, run_id, holder="host_a:1") for _ in range(2)]
    alive = lease(store, run_id, holder="hostXa:1")  # an underscore is no wildcard
    elsewhere = lease(store, other_run, holder="host_a:1")
    reserve_unit(store, dead[1])
    with store.write() as connection:
        assert release_holder(connection, run_id, "host_a:", NOW) == 2
    again = [lease(store, run_id, holder="b", now=NOW) for _ in range(2)]
    assert [(held.unit_id, held.reserved, held.fence) for held in again] == [
        (dead[1].unit_id, True, 2),
        (dead[0].unit_id, False, 2),
    ]
    assert try_lease(store, run_id) is None
    with store.write() as connection:
        prolong(connection, alive, LATER)
        prolong(connection, elsewhere, LATER)
    with pytest.raises(LeaseLost), store.write() as connection:
        prolong(connection, dead[0], LATER)


def test_clock_that_was_set_back_frees_nothing(store: Store) -> None:
    run_id = plan(store, 1)
    lease(store, run_id)
    assert try_lease(store, run_id, LONG_AGO) is None
