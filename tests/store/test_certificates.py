"""Two appends, and the certificate put together from them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from engine.store import certificates
from engine.store.certificates import (
    certificate_by_serial,
    certificates_of_entity,
    certificates_of_run,
    unit_items,
)
from engine.store.database import Store
from engine.store.retry import retry_failed
from engine.store.runs import RunState, failures, totals
from engine.store.schema import (
    certificate_status,
    crl_partition,
    item_failure,
    reservation,
    serial_claim,
    to_microseconds,
    work_unit,
)
from engine.store.work_units import abort_unreserved
from tests.store.plans import (
    NOT_AFTER,
    NOW,
    complete_unit,
    count,
    issue_run,
    lease,
    plan,
    reserve_unit,
)


def test_certificate_is_read_back_as_it_was_written(store: Store) -> None:
    run_id = plan(store, 2)
    held = lease(store, run_id)
    made = reserve_unit(store, held)
    with store.read() as connection:
        assert certificate_by_serial(connection, made[0].serial) is None  # reserved is not issued
    signed = complete_unit(store, held)
    with store.read() as connection:
        found = certificate_by_serial(connection, made[0].serial)
        assert certificate_by_serial(connection, b"unknown") is None
        statuses = connection.execute(select(certificate_status)).all()
        (partition,) = connection.execute(select(crl_partition)).all()
    assert found is not None
    assert (found.item_id, found.serial, found.tbs, found.signature) == (
        made[0].item_id,
        made[0].serial,
        made[0].tbs,
        signed[0].signature,
    )
    assert (found.usage, found.card_number, found.kind, found.run_id) == (
        "signature",
        f"MG{1000 * run_id:014d}",
        "company",
        run_id,
    )
    assert [tuple(row) for row in statuses] == [
        (n, partition.id, to_microseconds(NOT_AFTER), 0) for n in (1, 2)
    ]
    assert (partition.allotted, partition.issued) == (4, 2)


def test_certificates_of_an_entity_and_of_a_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "EXPORT_BATCH", 3)
    first, second = plan(store, 4), plan(store, 1)
    issue_run(store, first)
    issue_run(store, second)
    with store.read() as connection:
        of_entity = certificates_of_entity(connection, f"{1000 * first:08d}")
        exported: list[int] = []
        while batch := certificates_of_run(connection, first, exported[-1] if exported else 0):
            assert len(batch) <= 3
            exported += [certificate.item_id for certificate in batch]
        assert [c.run_id for c in certificates_of_run(connection, second, 0)] == [second, second]
    assert [certificate.item_id for certificate in of_entity] == [1, 2]
    assert exported == list(range(1, 9))


def test_signed_items_are_not_handed_out_again(store: Store) -> None:
    run_id = plan(store, 1)
    held = lease(store, run_id)
    reserve_unit(store, held)
    complete_unit(store, held, failing=1)
    with store.read() as connection:
        left = unit_items(connection, held.unit_id)
        (failure,) = failures(connection, run_id)
    assert [item.item_id for item in left] == [failure.item_id] == [1]
    assert (failure.reason, failure.failed_at) == ("the token refused", NOW)


def test_retry_signs_a_reserved_tbs_again_and_no_other_items(store: Store) -> None:
    run_id = plan(store, 3)
    made = []
    for failing in (1, 0, 2):
        held = lease(store, run_id)
        made += reserve_unit(store, held)
        complete_unit(store, held, failing=failing)
    with store.write() as connection:
        units = retry_failed(connection, run_id, unit_size=2)
        assert retry_failed(connection, run_id, unit_size=2) == []
        assert failures(connection, run_id) == []
    assert len(units) == 2
    again = [lease(store, run_id) for _ in units]
    assert all(held.reserved for held in again)
    with store.read() as connection:
        handed_out = [item for held in again for item in unit_items(connection, held.unit_id)]
    stored = {r.item_id: r.tbs for r in made}
    assert [(item.item_id, item.tbs) for item in handed_out] == [(n, stored[n]) for n in (1, 5, 6)]
    for held in again:
        assert reserve_unit(store, held) == []
        complete_unit(store, held)
    assert count(store, serial_claim) == 6
    with store.read() as connection:
        assert totals(connection, run_id)["issued"] == 6


def test_retried_items_that_are_reserved_outlive_an_abort(store: Store) -> None:
    """Of one unit, an item failed before it was reserved, another after."""
    run_id = plan(store, 1)
    held = lease(store, run_id)
    reserve_unit(store, held)
    complete_unit(store, held, failing=2)
    with store.write() as connection:
        connection.execute(reservation.delete().where(reservation.c.item_id == 1))
        units = retry_failed(connection, run_id, unit_size=512)
        states = {row.id: row.state for row in connection.execute(select(work_unit))}
        assert [states[unit] for unit in units] == ["planned", "reserved"]
        assert abort_unreserved(connection, run_id) == 1
    last = lease(store, run_id, reserved_only=True)
    complete_unit(store, last)
    with store.read() as connection:
        assert totals(connection, run_id) == {
            "items": 2,
            "issued": 1,
            "failed": 0,
            "aborted": 1,
            "pending": 0,
        }


@given(st.data())
@settings(
    derandomize=True,
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_totals_add_up_whatever_happens(store: Store, data: st.DataObject) -> None:
    """Units are completed with failures, retried, left reserved, left leased, and at last aborted."""
    entities = data.draw(st.integers(1, 6))
    run_id = plan(store, entities)
    for _ in range(data.draw(st.integers(0, 8))):
        act = data.draw(st.sampled_from(["complete", "reserve", "lease", "retry", "abort"]))
        with store.write() as connection:
            if act == "retry":
                retry_failed(connection, run_id, unit_size=2)
            elif act == "abort":
                abort_unreserved(connection, run_id)
        if act in {"complete", "reserve", "lease"} and has_planned(store, run_id):
            held = lease(store, run_id)
            if act != "lease":
                reserve_unit(store, held)
            if act == "complete":
                complete_unit(store, held, failing=data.draw(st.integers(0, 1)))
        with store.read() as connection:
            counted = totals(connection, run_id)
            failed = len(failures(connection, run_id))
        assert counted["items"] == 2 * entities
        assert counted["items"] == sum(counted[name] for name in ("issued", "failed", "aborted", "pending"))
        assert counted["failed"] == failed
        assert min(counted.values()) >= 0


def has_planned(store: Store, run_id: int) -> bool:
    with store.read() as connection:
        states = connection.execute(
            select(work_unit.c.state, work_unit.c.lease_until).where(work_unit.c.run_id == run_id)
        ).all()
    return any(s == "planned" or (s == "reserved" and until < NOW) for s, until in states)


def test_failures_of_other_runs_are_left_alone(store: Store) -> None:
    runs = [plan(store, 1), plan(store, 1, state=RunState.PAUSED)]
    for run_id in runs:
        held = lease(store, run_id)
        reserve_unit(store, held)
        complete_unit(store, held, failing=1)
    with store.write() as connection:
        assert len(retry_failed(connection, runs[0], unit_size=512)) == 1
        assert len(failures(connection, runs[1])) == 1
    assert count(store, item_failure) == 2
