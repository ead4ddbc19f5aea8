"""Appending: no record without what it records, nothing recorded without its record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from sqlalchemy import Connection, delete, func, insert, select

from engine.audit.events import Event
from engine.audit.log import (
    CLOCK_TOLERANCE_MICROSECONDS,
    append_record,
    check_clock,
    newest_record_time,
)
from engine.audit.verify import stored_head, stored_records, verify_chain
from engine.clock import SetClock
from engine.errors import AuditFailed, ClockWrong, StoreError
from engine.store.certificates import Reserved, reserve
from engine.store.database import Store
from engine.store.schema import audit_head, audit_record, reservation, serial_claim
from tests.audit.chains import START, append

TOLERATED = timedelta(microseconds=CLOCK_TOLERANCE_MICROSECONDS)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


def count(store: Store, table: object = audit_record) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]  # any table


def reserve_with_record(store: Store, clock: SetClock) -> None:
    """As a worker does: TBSs and their record in one transaction."""
    with store.write() as connection:
        reserve(connection, [Reserved(1, b"\x01" * 16, 0, b"tbs")])
        append_record(connection, clock, Event.UNIT_RESERVED, actor="worker a:1", body={"unit": 1})


@pytest.mark.cps("4.5.1")
def test_record_says_who_did_what_when(store: Store, clock: SetClock) -> None:
    with store.write() as connection:
        append_record(connection, clock, Event.RUN_STARTED, actor="account wang", body={"run": 7})
    with store.read() as connection:
        (row,) = connection.execute(select(audit_record)).all()
    assert (row.sequence, row.recorded_at, row.actor, row.event) == (1, START, "account wang", "run.started")
    assert orjson.loads(row.body) == {"run": 7, "group": 7}


@pytest.mark.cps("4.5.1")
def test_every_event_belongs_to_one_of_the_17_groups_and_has_a_name_of_its_own() -> None:
    assert {event.group for event in Event} <= set(range(1, 18))
    assert len({event.record_name for event in Event}) == len(Event)


def test_stored_chain_is_whole(store: Store, clock: SetClock) -> None:
    appended = append(store, clock, 30)
    with store.read() as connection:
        records = list(stored_records(connection))
        assert records == appended
        assert stored_head(connection) == (30, appended[-1].hash)
        assert newest_record_time(connection) == appended[-1].recorded_at
        assert verify_chain(records, stored_head(connection), []) == []


def test_rolled_back_transaction_leaves_no_record(store: Store, clock: SetClock) -> None:
    append(store, clock, 2)

    def write_then_fail(connection: Connection) -> None:
        append_record(connection, clock, Event.RUN_STARTED, actor="a", body={})
        raise StoreError("something after it went wrong")

    with pytest.raises(StoreError, match="after it"), store.write() as connection:
        write_then_fail(connection)
    with store.read() as connection:
        records = list(stored_records(connection))
        assert verify_chain(records, stored_head(connection), []) == []
    assert len(records) == 2
    assert append(store, clock, 1)[0].sequence == 3


@pytest.mark.cps("4.5.6")
@pytest.mark.parametrize(
    "refused", ["INSERT ON audit_record", "INSERT ON audit_head", "UPDATE ON audit_head"]
)
def test_nothing_is_reserved_when_the_record_cannot_be_written(
    store: Store, clock: SetClock, refused: str
) -> None:
    if refused.startswith("UPDATE"):
        append(store, clock, 1)
    before = count(store)
    with store.write() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER refuse BEFORE {refused} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    with pytest.raises(AuditFailed, match="so what it records did not happen") as caught:
        reserve_with_record(store, clock)
    assert caught.value.rule == "CPS 4.5.6"
    assert "the disk is full" in str(caught.value)
    assert (count(store, reservation), count(store, serial_claim), count(store)) == (0, 0, before)
    with store.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER refuse")
    reserve_with_record(store, clock)
    assert (count(store, reservation), count(store)) == (1, before + 1)


@pytest.mark.cps("4.5.6")
def test_nothing_is_recorded_where_the_head_was_taken_away(store: Store, clock: SetClock) -> None:
    append(store, clock, 2)
    with store.write() as connection:
        connection.execute(delete(audit_head))
    with pytest.raises(AuditFailed):
        reserve_with_record(store, clock)
    assert (count(store), count(store, reservation)) == (2, 0)


def test_a_second_head_row_is_not_looked_at(store: Store, clock: SetClock) -> None:
    appended = append(store, clock, 2)
    with store.write() as connection:
        connection.execute(insert(audit_head).values(id=2, sequence=9, recorded_at=START, hash=b""))
    assert append(store, clock, 1)[0].sequence == 3
    with store.read() as connection:
        head = stored_head(connection)
        assert head is not None
        assert head[0] == len(appended) + 1


@pytest.mark.cps("4.6.5")
def test_clock_before_the_newest_record_stops_recording(store: Store, clock: SetClock) -> None:
    append(store, clock, 1)
    clock.move(-TOLERATED - timedelta(microseconds=1))
    with pytest.raises(ClockWrong, match="stands before the newest audit record"):
        reserve_with_record(store, clock)
    assert (count(store), count(store, reservation)) == (1, 0)
    with store.read() as connection, pytest.raises(ClockWrong):
        check_clock(connection, clock)


@pytest.mark.cps("4.6.5")
def test_small_setback_of_the_clock_is_tolerated_and_times_never_decrease(
    store: Store, clock: SetClock
) -> None:
    first = append(store, clock, 1)[0]
    clock.move(-TOLERATED)
    with store.read() as connection:
        check_clock(connection, clock)
    with store.write() as connection:
        second = append_record(connection, clock, Event.RUN_PAUSED, actor="a", body={})
    assert second.recorded_at == first.recorded_at


def test_clock_of_an_empty_log_is_right(store: Store) -> None:
    with store.read() as connection:
        assert newest_record_time(connection) is None
        check_clock(connection, SetClock(datetime(1970, 1, 1, tzinfo=UTC)))
