"""The schema and the statements fit PostgreSQL too, as far as compiling shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Index, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import SetClock
from engine.store import (
    acts,
    certificates,
    claims,
    leases,
    plans,
    retry,
    runs,
    standings,
    status_changes,
    status_history,
    statuses,
    unaccepted,
    work_units,
)
from engine.store.schema import STATUS_GOOD, CertificateState, UtcTime, metadata
from engine.store.work_units import Lease
from tests.store.plans import ISSUER, LEASE, NOW, card, entity, key, uri_of

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
TABLES = metadata.sorted_tables


class Recorder:
    """Stands for a connection to PostgreSQL: compiles what it is given, and knows nothing."""

    dialect = DIALECT

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, statement: ClauseElement, *values: Any, **options: Any) -> _Nothing:
        compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
        self.statements.append(" ".join(str(compiled).split()))
        return _Nothing()

    def exec_driver_sql(self, statement: str, *values: object) -> _Nothing:
        raise AssertionError(f"SQLite's own statement: {statement}")


class _Nothing:
    """An empty result, or one row of zeros where a row must be."""

    rowcount = 1

    def __iter__(self) -> Any:
        return iter(())

    def all(self) -> list[Any]:
        return []

    scalars = tuples = fetchall = all

    def scalar_one(self) -> int:
        return 0

    def scalar_one_or_none(self) -> None:
        return None

    one_or_none = scalar_one_or_none

    def one(self) -> tuple[int, ...]:
        return (0, 0, 0, 0)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_schema_compiles(table: Table) -> None:
    statement = str(CreateTable(table).compile(dialect=DIALECT))
    for column in table.columns:
        assert f"\t{column.name} " in statement
    assert "WITHOUT ROWID" not in statement
    indices: list[Index] = list(table.indexes)
    for index in indices:
        assert str(CreateIndex(index).compile(dialect=DIALECT)).startswith("CREATE ")


def test_types() -> None:
    def type_of(table: str, column: str) -> str:
        found: Column[Any] = metadata.tables[table].c[column]
        return found.type.compile(DIALECT)

    assert type_of("item", "id") == "BIGINT"
    assert type_of("reservation", "tbs") == "BYTEA"
    assert type_of("run", "created_at") == "BIGINT"
    bind, read = UtcTime().bind_processor(DIALECT), UtcTime().result_processor(DIALECT, None)
    assert bind is not None
    assert read is not None
    assert read(bind(NOW)) == NOW


HELD = Lease(1, 1, 1, 1, False)
NAMED = leases.Lease("crl/1", "a", 1)
GOOD = standings.Standing(1, 1, 1, b"s", 0, CertificateState.GOOD, None, None)
REVOKED = standings.NewStanding(GOOD, CertificateState.REVOKED, 0, 1)
ACTS: dict[str, Callable[[Connection], object]] = {
    "unit_items": lambda c: certificates.unit_items(c, 1),
    "reserve": lambda c: certificates.reserve(c, [certificates.Reserved(1, b"s", 0, b"t")]),
    "complete": lambda c: certificates.complete(c, 1, [certificates.Signed(1, STATUS_GOOD, b"s")]),
    "record_failures": lambda c: certificates.record_failures(c, 1, [(1, "why")], NOW),
    "certificate_by_serial": lambda c: certificates.certificate_by_serial(c, b"s"),
    "certificates_of_entity": lambda c: certificates.certificates_of_entity(c, "1"),
    "certificates_of_run": lambda c: certificates.certificates_of_run(c, 1, 0),
    "held_primary_cards": lambda c: claims.held_primary_cards(c, [1, 2], NOW),
    "taken": lambda c: claims.taken(c, metadata.tables["card_number_claim"], "number", ["a", "b"]),
    "release_primary_card": lambda c: claims.release_primary_card(c, 1, 1),
    "release_claims_of_aborted": lambda c: claims.release_claims_of_aborted(c, 1),
    "discard_plan": lambda c: claims.discard_plan(c, 1),
    "subject_holder": lambda c: claims.subject_holder(c, b"d"),
    "entities_by_identifier": lambda c: plans.entities_by_identifier(c, "company", ["1"]),
    "name_of": lambda c: plans.name_of(c, "1"),
    "allot_partition": lambda c: plans.allot_partition(c, issuer=ISSUER, count=1, size=1, uri_of=uri_of),
    "append_cards": lambda c: plans.append_cards(
        c, 1, [card(entity(1), "MG1"), card(entity(2, is_new=False), "MG2")]
    ),
    "append_unit": lambda c: plans.append_unit(c, 1, 1, [(1, key("k"))]),
    "append_rejects": lambda c: plans.append_rejects(c, 1, [("register", 1, None, "r", None, "d")]),
    "retry_failed": lambda c: retry.retry_failed(c, 1, 1),
    "totals": lambda c: runs.totals(c, 1),
    "rejects": lambda c: list(runs.rejects(c, 1)),
    "reject_reasons": lambda c: runs.reject_reasons(c, 1),
    "failures": lambda c: runs.failures(c, 1),
    "mark_completed": lambda c: work_units.mark_completed(c, HELD, issued=1, failed=0),
    "release_holder": lambda c: work_units.release_holder(c, 1, "host_a:", NOW),
    "abort_unreserved": lambda c: work_units.abort_unreserved(c, 1),
    "count_open": lambda c: work_units.count_open(c, 1),
    "items_of_serials": lambda c: statuses.items_of_serials(c, ["AB"]),
    "items_of_cards": lambda c: statuses.items_of_cards(c, ["MG1"]),
    "items_of_entities": lambda c: statuses.items_of_entities(c, ["1"]),
    "lock_statuses": lambda c: statuses.lock_statuses(c, [1, 2]),
    "statuses_of_items": lambda c: statuses.statuses_of_items(c, [1, 2]),
    "append_acts": lambda c: acts.append_acts(
        c, [acts.NewAct("revoke", "ca", "", "card", "MG1", "g", None, "a", NOW)]
    ),
    "append_holds": lambda c: acts.append_holds(c, [acts.NewHold(1, "ca", "", NOW, 1, None, None)]),
    "lift_holds": lambda c: acts.lift_holds(c, [acts.LiftedHold(1, 1)], NOW),
    "append_revocations": lambda c: acts.append_revocations(c, [acts.NewRevocation(1, 1, NOW, 1, None)]),
    "append_acceptances": lambda c: acts.append_acceptances(c, [(1, 1)], NOW),
    "release_ended_primary_cards": lambda c: acts.release_ended_primary_cards(c, [1, 2], NOW),
    "runs_in_question": lambda c: unaccepted.runs_in_question(c, NOW),
    "unaccepted_certificates": lambda c: unaccepted.unaccepted_certificates(
        c, [1], origin="non-acceptance", now=NOW, after_item=0, limit=1
    ),
    "acts_on_items": lambda c: status_history.acts_on_items(c, [1, 2]),
    "standings_of_cards": lambda c: standings.standings_of_cards(c, [1, 2]),
    "change_standings": lambda c: standings.change_standings(c, [REVOKED], NOW),
    "cards_owed_an_answer": lambda c: standings.cards_owed_an_answer(c, 1),
    "changes_after": lambda c: status_changes.changes_after(c, 0, 1),
    "move_reader": lambda c: status_changes.move_reader(c, "r", 1),
    "take_lease": lambda c: leases.take_lease(c, "crl/1", holder="a", now=NOW, until=NOW),
    "give_back": lambda c: leases.give_back(c, NAMED, NOW),
}


def statements_of(act: Callable[[Connection], object]) -> list[str]:
    recorder = Recorder()
    act(recorder)  # type: ignore[arg-type]  # stands for a connection
    return recorder.statements


@pytest.mark.parametrize("name", ACTS)
def test_statements_compile(name: str) -> None:
    statements = statements_of(ACTS[name])
    assert statements
    assert all(statement.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"} for statement in statements)


def test_leasing_skips_what_others_have_locked() -> None:
    def take(connection: Connection) -> None:
        work_units.lease_next(connection, 1, holder="a", now=NOW, until=NOW + LEASE, reserved_only=False)

    (statement,) = statements_of(take)
    assert statement.endswith("FOR UPDATE SKIP LOCKED")


def test_audit_locks_the_head_of_the_chain() -> None:
    def append(connection: Connection) -> None:
        append_record(connection, SetClock(NOW), Event.RUN_STARTED, actor="a", body={})

    select, *_ = statements_of(append)
    assert "FROM audit_head" in select
    assert select.endswith("FOR UPDATE")


@pytest.mark.parametrize("name", ["lock_statuses", "take_lease", "change_standings"])
def test_status_is_changed_under_a_lock(name: str) -> None:
    assert any(statement.endswith("FOR UPDATE") for statement in statements_of(ACTS[name]))
