"""One snapshot of the record, in SQLite or PostgreSQL; nothing can be written through it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

_ROWS_AT_ONCE = 1_000
"""Fetched at a time: about 2 MB of certificates. A guess."""


class Record:
    """A snapshot.

    Args:
        connection: on which the snapshot has begun.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._under_way: set[CursorResult[Any]] = set()

    def rows(self, statement: str, **values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT in constant memory; several may be under way at once."""
        result = self._connection.execute(
            text(statement), values, execution_options={"yield_per": _ROWS_AT_ONCE}
        )
        self._under_way.add(result)
        try:
            for row in result:
                yield tuple(row)
        finally:
            self._under_way.discard(result)
            result.close()

    def end(self) -> None:
        """End the SELECTs that nobody read to their end: a server holds a cursor for each."""
        for result in self._under_way:
            result.close()

    def row(self, statement: str, **values: object) -> tuple[Any, ...] | None:
        """Return the first row of a SELECT, None where there is none."""
        found = self._connection.execute(text(statement), values).first()
        return None if found is None else tuple(found)


@contextmanager
def snapshot(url: str) -> Iterator[Record]:
    """Open the record for as long as the block runs.

    Raises:
        SQLAlchemyError: it cannot be reached or read.
        OSError: there is no such file.
        ValueError: the URL is none of a record.
    """
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            record = Record(connection)
            try:
                yield record
            finally:
                record.end()
            connection.rollback()
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        engine = create_engine(url, poolclass=NullPool)
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise ValueError("the record is in SQLite or PostgreSQL")
    file = Path(parsed.database).resolve(strict=True)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, isolation_level=None)
        # What is no UTF-8 becomes a finding of its row instead of an end to all reading.
        connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)
