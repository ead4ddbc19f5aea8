"""Revisions: they make what schema.py describes, keep what was there, and refuse what is newer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text

from engine.errors import HomeUnusable, StoreError
from engine.store import migration
from engine.store.database import Store, open_store
from engine.store.migration import current_revision, migrate, newest_revision
from engine.store.schema import metadata, public_key_claim, run
from engine.store.status_changes import ChangeKind, append_changes, changes_after
from tests.postgresql_server import OWNER, PostgresqlServer
from tests.store.plans import NOW, issue_run, plan
from tests.store_fixture import store_url

FIRST = "0001"


OLDER = ["0001", "0002", "0003", "0004"]
"""Every revision before the newest; `test_older_ones_are_all_tried` holds the list against the scripts."""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database without tables, as the role that will own them."""
    if request.param == "sqlite":
        opened = open_store(store_url(tmp_path / "old.sqlite"))
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        opened = open_store(server.url(server.new_database(), OWNER))
    yield opened
    opened.close()


@pytest.fixture
def old(empty: Store) -> Store:
    """A store of the first revision."""
    assert migrate(empty, FIRST) == (None, FIRST)
    return empty


def test_older_ones_are_all_tried() -> None:
    revisions = sorted(path.name[:4] for path in (migration.MIGRATIONS / "versions").glob("0*.py"))
    assert [*OLDER, newest_revision()] == revisions
    assert ScriptDirectory(str(migration.MIGRATIONS)).get_current_head() == newest_revision()


def test_migrated_schema_is_the_one_described(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, metadata) == []
        assert current_revision(connection) == newest_revision()


def test_primary_keys_are_the_ones_described(store: Store) -> None:
    """What the comparison above does not look at."""
    with store.read() as connection:
        for table in metadata.sorted_tables:
            keys = inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key]


def test_layout_in_sqlite_is_the_one_described(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        for table in metadata.sorted_tables:
            statement = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": table.name}
            ).scalar_one()
            without_row_id = table.dialect_options["sqlite"]["with_rowid"] is False
            assert ("WITHOUT ROWID" in statement) == without_row_id


@pytest.mark.parametrize("revision", OLDER)
def test_older_store_is_migrated_and_keeps_its_rows(old: Store, revision: str) -> None:
    run_id = plan(old)
    issue_run(old, run_id)
    migrate(old, revision)
    columns = columns_of(old)
    before = rows(old, columns)
    assert migrate(old) == (revision, newest_revision())
    assert rows(old, columns) == before
    assert before["signature"]
    with old.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_certificates_of_an_older_store_are_announced_in_the_feed(old: Store) -> None:
    """Else no responder would ever hear of them."""
    issue_run(old, plan(old, 3))
    plan(old, 1)  # units without a certificate
    migrate(old)
    with old.write() as connection:
        changes = changes_after(connection, 0, 10)
        assert [change.sequence for change in changes] == [1, 2, 3]
        assert {(change.kind, change.subject) for change in changes} == {
            (ChangeKind.ISSUED, unit_id) for unit_id in (1, 2, 3)
        }
        assert append_changes(connection, ChangeKind.STATUS, [7], NOW) == 4


def test_runs_of_an_older_store_are_direct_ones(old: Store) -> None:
    run_id = plan(old)
    migrate(old)
    with old.read() as connection:
        assert connection.execute(select(run.c.id, run.c.issuance_mode)).all() == [(run_id, "direct")]


Columns = dict[str, list[str]]
"""The columns of each table, as a store has them: an older one lacks some of those described today."""


def columns_of(store: Store) -> Columns:
    with store.read() as connection:
        inspector = inspect(connection)
        return {
            name: sorted(found["name"] for found in inspector.get_columns(name))
            for name in inspector.get_table_names()
            if name != "alembic_version"
        }


def rows(store: Store, columns: Columns) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(f"SELECT {', '.join(names)} FROM {name}"))]
            for name, names in columns.items()
        }


def test_nothing_is_done_to_a_store_of_the_newest_revision(store: Store) -> None:
    plan(store)
    before = rows(store, columns_of(store))
    assert migrate(store) == (newest_revision(), newest_revision())
    assert rows(store, columns_of(store)) == before


def test_newer_store_is_refused(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(HomeUnusable, match=r"newer program.*9999.*newest revision known here"):
        migrate(store)


def test_failed_revision_leaves_the_store_as_it_was(
    old: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(old)
    migrations = tmp_path / "migrations"
    shutil.copytree(migration.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / "broken.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision, branch_labels, depends_on = 'broken', '{newest_revision()}', None, None\n"
        "def upgrade():\n"
        "    op.execute('DELETE FROM run')\n"
        "    op.execute('DROP TABLE no_such_table')\n"
    )
    monkeypatch.setattr(migration, "MIGRATIONS", migrations)
    before = rows(old, columns_of(old))
    with pytest.raises(StoreError, match=r"no such table|does not exist"):
        migrate(old)
    assert rows(old, columns_of(old)) == before
    with old.read() as connection:
        assert current_revision(connection) == FIRST


def test_uniqueness_holds_in_a_migrated_store_too(old: Store) -> None:
    migrate(old)
    claim = {"key_digest": b"k", "occasion": 0, "item_id": 1}
    with pytest.raises(StoreError), old.write() as connection:
        connection.execute(insert(public_key_claim), [claim, claim])
