"""The record in PostgreSQL: every statement runs there, who writes is alone or locks his rows, and it may go away."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, insert, select, text

from engine.errors import LeaseLost, StoreError, StoreUnavailable
from engine.store import (
    acts,
    bulk_append,
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
from engine.store.database import Store, open_store
from engine.store.migration import migrate
from engine.store.postgresql import RECORD_LOCK
from engine.store.schema import CertificateState, metadata, serial_claim
from engine.store.work_units import Lease
from tests.postgresql_server import OWNER, READER, WRITER, PostgresqlServer, running_server
from tests.store.plans import ISSUER, LEASE, NOW, card, entity, plan, uri_of

HELD = Lease(1, 1, 1, 1, False)
NAMED = leases.Lease("crl/1", "a", 1)
GOOD = standings.Standing(1, 1, 1, b"s", 0, CertificateState.GOOD, None, None)
REVOKED = standings.NewStanding(GOOD, CertificateState.REVOKED, 0, 1)
ACTS: dict[str, Callable[[Connection], object]] = {
    "unit_items": lambda c: certificates.unit_items(c, 1),
    "reserve": lambda c: certificates.reserve(c, [certificates.Reserved(1, b"s", 0, b"t")]),
    "complete": lambda c: certificates.complete(c, 1, [certificates.Signed(1, 0, b"s")]),
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


@pytest.mark.parametrize("name", ACTS)
def test_every_statement_runs(postgresql_store: Store, name: str) -> None:
    with postgresql_store.engine.connect() as connection:
        transaction = connection.begin()
        try:
            ACTS[name](connection)
        except LeaseLost:
            assert name == "mark_completed"  # there is no such unit
        finally:
            transaction.rollback()


def may_lock(store: Store, function: str) -> bool:
    """Whether another transaction could take the record's lock now."""
    with store.engine.connect() as connection:
        taken = connection.execute(text(f"SELECT pg_try_{function}(:number)"), {"number": RECORD_LOCK})
        return bool(taken.scalar_one())


ALONE, BESIDE = "advisory_xact_lock", "advisory_xact_lock_shared"


def test_who_writes_alone_is_alone(postgresql_store: Store) -> None:
    with postgresql_store.write():
        assert not may_lock(postgresql_store, BESIDE)
    assert may_lock(postgresql_store, ALONE)


def test_who_writes_beside_others_keeps_only_the_lonely_out(postgresql_store: Store) -> None:
    with postgresql_store.write_beside():
        assert may_lock(postgresql_store, BESIDE)
        assert not may_lock(postgresql_store, ALONE)
    with postgresql_store.read():
        assert may_lock(postgresql_store, ALONE)


def test_leasing_skips_what_another_has_locked(postgresql_store: Store) -> None:
    run_id = plan(postgresql_store, 2)

    def lease(connection: Connection, holder: str) -> int | None:
        found = work_units.lease_next(
            connection, run_id, holder=holder, now=NOW, until=NOW + LEASE, reserved_only=False
        )
        return None if found is None else found.unit_id

    with postgresql_store.write_beside() as first, postgresql_store.write_beside() as second:
        one, other = lease(first, "a"), lease(second, "b")
    assert None not in (one, other)
    assert one != other


def test_a_duplicate_in_a_copy_undoes_the_step(postgresql_store: Store) -> None:
    columns = ("serial", "item_id")
    with pytest.raises(StoreError, match="must be unique"), postgresql_store.write() as connection:
        bulk_append.append(connection, serial_claim, columns, [(b"a", 1), (b"b", 2), (b"a", 3)])
    with postgresql_store.read() as connection:
        assert connection.execute(select(serial_claim)).all() == []


class _UndoneError(Exception):
    """What the role could do is not kept."""


def refused(server: PostgresqlServer, database: str, role: str, statement: str) -> bool:
    """Whether the server does not let a role do something."""
    opened = open_store(server.url(database, role))
    try:
        with contextlib.suppress(_UndoneError), opened.write() as connection:
            connection.exec_driver_sql(statement)
            raise _UndoneError
    except StoreError as error:
        assert not isinstance(error, StoreUnavailable)
        assert "permission denied" in str(error) or "must be owner" in str(error), str(error)
        return True
    finally:
        opened.close()
    return False


@pytest.mark.parametrize(
    ("statement", "may"),
    [
        ("SELECT * FROM serial_claim", {OWNER, WRITER, READER}),
        ("INSERT INTO serial_claim VALUES ('x', 1)", {OWNER, WRITER}),
        ("UPDATE serial_claim SET item_id = 2", {OWNER, WRITER}),
        ("DELETE FROM serial_claim", {OWNER, WRITER}),
        ("INSERT INTO run_reject (run_id, source, row_number, reason, detail) VALUES (1, '', 1, '', '')",
         {OWNER, WRITER}),
        ("TRUNCATE serial_claim", {OWNER}),
        ("ALTER TABLE serial_claim ADD COLUMN more integer", {OWNER}),
        ("CREATE TABLE more (id integer)", {OWNER}),
        ("DROP TABLE serial_claim", {OWNER}),
        ("CREATE DATABASE more", set()),
        ("CREATE ROLE more", set()),
    ],
)  # fmt: skip
def test_what_each_role_may_do(
    postgresql: PostgresqlServer, migrated_database: str, statement: str, may: set[str]
) -> None:
    database = postgresql.copy_database(migrated_database)
    for role in (OWNER, WRITER, READER):
        if statement.startswith("CREATE DATABASE"):  # not within a transaction: asked of the role itself
            rights = postgresql.administer(f"SELECT rolcreatedb FROM pg_roles WHERE rolname = '{role}'")
            assert rights == [(False,)]
        else:
            assert refused(postgresql, database, role, statement) == (role not in may), role


def test_none_is_a_superuser(postgresql: PostgresqlServer, migrated_database: str) -> None:
    supers = postgresql.administer(
        "SELECT rolname FROM pg_roles WHERE rolsuper OR rolreplication OR rolbypassrls"
    )
    assert supers == [("administrator",)]  # whom only the tests have
    owners = postgresql.administer(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", migrated_database
    )
    assert owners == [(OWNER,)]


def test_a_connection_that_is_cut_is_told_and_the_next_one_works(postgresql_store: Store) -> None:
    def cut(connection: Connection) -> None:
        number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with postgresql_store.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:number)"), {"number": number})

    rows = [(b"s", 1)]
    for append in (
        lambda connection: bulk_append.append(connection, serial_claim, ("serial", "item_id"), rows),
        lambda connection: connection.execute(insert(serial_claim), [{"serial": b"s", "item_id": 1}]),
    ):
        with pytest.raises(StoreUnavailable), postgresql_store.write() as connection:
            cut(connection)
            append(connection)
    with postgresql_store.write() as connection:
        bulk_append.append(connection, serial_claim, ("serial", "item_id"), rows)
        assert connection.execute(select(serial_claim.c.item_id)).scalars().all() == [1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_server_that_stops_is_told_and_what_was_committed_is_there_again(how: signal.Signals) -> None:
    with running_server() as server:
        database = server.new_database()
        owned = open_store(server.url(database, OWNER))
        migrate(owned)
        owned.close()
        store = open_store(server.url(database, WRITER))
        with store.write() as connection:
            connection.execute(insert(serial_claim).values(serial=b"s", item_id=1))
        with pytest.raises(StoreUnavailable), store.write() as connection:
            connection.execute(insert(serial_claim).values(serial=b"t", item_id=2))
            server.stop(how)
        with pytest.raises(StoreUnavailable), store.read() as connection:
            pass
        server.start()
        with store.read() as connection:
            assert connection.execute(select(serial_claim.c.item_id)).scalars().all() == [1]
        store.close()
