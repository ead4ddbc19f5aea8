"""The record in an SQLite file: the embedded default."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from engine.errors import HomeUnusable
from engine.store.transactions import Writing

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

_AWAY = frozenset(
    {"SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_NOMEM", "SQLITE_PROTOCOL"}
)
"""Result codes that may be gone when the same is asked again (sqlite.org/rescode.html): the disk is full or does not
answer, another process holds the file."""


def configure(engine: Engine, *, must_exist: bool, read_only: bool) -> None:
    """Check the file of an engine, and have each of its connections set up.

    Raises:
        HomeUnusable: the directory is missing or not writable, or the file is missing and must exist.
    """
    _check_file(Path(engine.url.database or ""), must_exist)
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin)
    if read_only:
        event.listen(engine, "connect", _forbid_writing)


def begin_options(writing: Writing) -> dict[str, object]:
    """Return the execution options under which a transaction begins: SQLite knows one writer at a time."""
    return {"sealmint_immediate": writing is not Writing.NOT}


def is_away(error: DBAPIError) -> bool:
    """Whether the same call may succeed later."""
    name = getattr(error.orig, "sqlite_errorname", "") if isinstance(error.orig, sqlite3.Error) else ""
    return name in _AWAY or name.startswith("SQLITE_IOERR_")


def _check_file(path: Path, must_exist: bool) -> None:
    directory = path.parent
    if not directory.is_dir():
        raise HomeUnusable("the directory of the store does not exist", place=str(directory))
    if not os.access(directory, os.W_OK):
        raise HomeUnusable("the directory of the store is not writable", place=str(directory))
    if must_exist and not path.exists():
        raise HomeUnusable("the store is not there", place=str(path))


def _configure_connection(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where _begin says, not where the driver guesses
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


def _forbid_writing(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA query_only = ON")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("sealmint_immediate", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
