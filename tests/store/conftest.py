"""The store that these tests write to: once in SQLite and once in PostgreSQL, where nothing is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.database import Store, open_store
from engine.store.migration import migrate
from tests.postgresql_server import OWNER, WRITER, PostgresqlServer
from tests.store_fixture import migrated_file, store_url

__all__ = ["migrated_file"]


@pytest.fixture(scope="session")
def migrated_database(postgresql: PostgresqlServer) -> str:
    """A database at the newest revision, to be copied."""
    name = postgresql.new_database()
    opened = open_store(postgresql.url(name, OWNER))
    migrate(opened)
    opened.close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def store_at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store of one's own, as the role that works with it."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "store.sqlite")
        return store_url(tmp_path / "store.sqlite")
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.url(server.copy_database(request.getfixturevalue("migrated_database")), WRITER)


@pytest.fixture
def store(store_at: str) -> Iterator[Store]:
    """That store, open."""
    opened = open_store(store_at, must_exist=True)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(migrated_file: Path, tmp_path: Path) -> Iterator[Store]:
    """A store in SQLite, for what is told of that alone."""
    shutil.copy(migrated_file, tmp_path / "store.sqlite")
    opened = open_store(store_url(tmp_path / "store.sqlite"))
    yield opened
    opened.close()


@pytest.fixture
def postgresql_store(postgresql: PostgresqlServer, migrated_database: str) -> Iterator[Store]:
    """A store in PostgreSQL, for what is told of that alone."""
    opened = open_store(postgresql.url(postgresql.copy_database(migrated_database), WRITER))
    yield opened
    opened.close()
