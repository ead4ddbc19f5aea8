"""Appending many rows at once: one of the two places where the databases differ.

On SQLite a prepared statement is run over tuples by the driver, which costs a quarter of what building a
dictionary and a bound parameter for every value does. PostgreSQL takes COPY (`bulk_copy.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table

from engine.store.bulk_copy import copy_over, copy_rows


def append(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> None:
    """Append rows to a table.

    Args:
        connection: a writing transaction.
        table: where to.
        columns: the columns that the rows give, in their order.
        rows: one sequence a row, values as the driver takes them (times as microseconds).

    Raises:
        IntegrityError: a row that must be unique is there already (SQLAlchemy's own).

    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_sqlite_statement(table, columns), [tuple(row) for row in rows])
    else:
        copy_rows(connection, table, columns, rows)


@cache
def _sqlite_statement(table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 - names come from schema.py


def replace(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> None:
    """Put rows in, or in the place of those with the same primary key.

    Args:
        connection: a writing transaction.
        table: where to; every column is given.
        columns: the columns that the rows give, in their order, the primary key first.
        rows: one sequence a row, values as the driver takes them; no key twice.
    """
    if not rows:
        return
    key, *others = columns
    if connection.dialect.name == "sqlite":
        news = ", ".join(f"{name} = excluded.{name}" for name in others)
        statement = f"{_sqlite_statement(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {news}"
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])
    else:
        copy_over(connection, table, columns, rows)
