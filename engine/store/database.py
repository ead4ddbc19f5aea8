"""Opening the database, and the two kinds of transaction.

SQLite is the embedded default; the same schema and the same statements run on PostgreSQL, but for two dialect
points: leasing (`BEGIN IMMEDIATE` here, row locks there) and bulk append (`bulk_append.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from engine.errors import ConfigurationInvalid, HomeUnusable, StoreError

BUSY_TIMEOUT_MS = 60_000
"""How long a writer waits for another process's transaction. A guess: far above the longest transaction that
planning makes, so that only a hung process is ever reported."""

PAGE_OCTETS = 16_384
"""Of a new SQLite file: a page takes fifteen TBSs instead of three, so that appending one costs 6 µs instead of 9
(bench.issuance, step "reserve")."""

CACHE_KIB = 49_152
"""SQLite's page cache for each connection. Sequential keys keep the pages in use few (bench.issuance: the cost
a certificate is flat to 1.2 million); the rest is for the random key digests while planning."""

WAL_AUTOCHECKPOINT_PAGES = 4_096
"""64 MiB of log between checkpoints: a page that many commits touch is copied back once (bench.issuance)."""


class Store:
    """An open database.

    Args:
        engine: the SQLAlchemy engine, configured by :func:`open_store`.

    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: holds the write lock from its start, is durable when the block ends.

        Raises:
            StoreError: the database refused; everything in the block was rolled back.

        """
        with self._transaction(immediate=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short consistent snapshot. Keep it short: an open one keeps the log from being shortened."""
        with self._transaction(immediate=False) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, immediate: bool) -> Iterator[Connection]:
        try:
            with self.engine.connect() as plain:
                connection = plain.execution_options(sealmint_immediate=immediate)
                with connection.begin():
                    yield connection
        except IntegrityError as error:
            raise StoreError("a row that must be unique is there already", value=str(error.orig)) from error
        except DBAPIError as error:
            raise StoreError(
                "the database did not do what was asked; nothing of this step was kept",
                place=str(self.engine.url.database),
                value=str(error.orig),
            ) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_store(url: str, *, must_exist: bool = False) -> Store:
    """Open the database at a URL whose schema is already at the newest revision.

    Args:
        url: an SQLAlchemy URL: `sqlite:////path/store.sqlite` or `postgresql+psycopg://…`.
        must_exist: refuse an SQLite file that is not there, where a new one would be a record without its past.

    Raises:
        ConfigurationInvalid: the URL is none, or its driver is not installed.
        HomeUnusable: an SQLite file whose directory is missing or not writable, or that is missing itself.

    """
    try:
        engine = create_engine(url)
    except (ArgumentError, ImportError) as error:
        raise ConfigurationInvalid(
            "the URL of the store cannot be used", place="store.url", rule=str(error)
        ) from error
    if engine.dialect.name == "sqlite":
        _check_file(Path(engine.url.database or ""), must_exist)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return Store(engine)


def _check_file(path: Path, must_exist: bool) -> None:
    directory = path.parent
    if not directory.is_dir():
        raise HomeUnusable("the directory of the store does not exist", place=str(directory))
    if not os.access(directory, os.W_OK):
        raise HomeUnusable("the directory of the store is not writable", place=str(directory))
    if must_exist and not path.exists():
        raise HomeUnusable("the store is not there", place=str(path))


def _configure_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = (
        None  # transactions begin where _begin_sqlite says, not where the driver guesses
    )
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        f"page_size = {PAGE_OCTETS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit that returned survives a power cut
        "foreign_keys = ON",
        f"cache_size = -{CACHE_KIB}",
        f"wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("sealmint_immediate", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
