"""Appending many rows at once: one of the two places where the databases differ.

On SQLite a prepared statement is run over tuples by the driver, which costs a quarter of what building a
dictionary and a bound parameter for every value does. PostgreSQL will take COPY here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, insert


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
        connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


@cache
def _sqlite_statement(table: Table, columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 - names come from schema.py
