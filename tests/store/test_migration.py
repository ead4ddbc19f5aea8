"""Revisions: they make what schema.py describes, keep what was there, and refuse what is newer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text

from engine.errors import HomeUnusable, StoreError
from engine.store import migration
from engine.store.database import Store, open_store
from engine.store.migration import current_revision, migrate, newest_revision
from engine.store.schema import metadata, public_key_claim
from tests.store.plans import issue_run, plan
from tests.store_fixture import store_url

FIRST = "0001"


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """A store of the first revision."""
    opened = open_store(store_url(tmp_path / "old.sqlite"))
    assert migrate(opened, FIRST) == (None, FIRST)
    return opened


def test_migrated_schema_is_the_one_described(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, metadata) == []
        assert current_revision(connection) == newest_revision()


def test_primary_keys_and_layout_are_the_ones_described(store: Store) -> None:
    """What the comparison above does not look at."""
    with store.read() as connection:
        for table in metadata.sorted_tables:
            keys = inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            assert keys == [column.name for column in table.primary_key]
            statement = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": table.name}
            ).scalar_one()
            without_row_id = table.dialect_options["sqlite"]["with_rowid"] is False
            assert ("WITHOUT ROWID" in statement) == without_row_id


def test_older_store_is_migrated_and_keeps_its_rows(old: Store) -> None:
    run_id = plan(old)
    issue_run(old, run_id)
    before = rows(old)
    assert migrate(old) == (FIRST, newest_revision())
    after = rows(old)
    assert {name: after[name] for name in before} == before
    assert before["signature"]
    with old.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as connection:
        present = set(inspect(connection).get_table_names())
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
            if table.name in present
        }


def test_nothing_is_done_to_a_store_of_the_newest_revision(store: Store) -> None:
    plan(store)
    before = rows(store)
    assert migrate(store) == (newest_revision(), newest_revision())
    assert rows(store) == before


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
    before = rows(old)
    with pytest.raises(StoreError, match="no such table"):
        migrate(old)
    assert rows(old) == before
    with old.read() as connection:
        assert current_revision(connection) == FIRST


def test_uniqueness_holds_in_a_migrated_store_too(old: Store) -> None:
    migrate(old)
    claim = {"key_digest": b"k", "occasion": 0, "item_id": 1}
    with pytest.raises(StoreError), old.write() as connection:
        connection.execute(insert(public_key_claim), [claim, claim])
