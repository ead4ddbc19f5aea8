"""Appending many rows at once: one of the two places where the databases differ.

On SQLite a prepared statement is run over tuples by the driver, which costs a quarter of what building a
dictionary and a bound parameter for every value does. PostgreSQL will take COPY here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, insert, text


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


def replace(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> None:
    """Put rows in, or in the place of those with the same primary key.

    Args:
        connection: a writing transaction.
        table: where to; every column is given.
        columns: the columns that the rows give, in their order, the primary key first.
        rows: one sequence a row, values as the driver takes them.
    """
    key, *others = columns
    news = ", ".join(f"{name} = excluded.{name}" for name in others)
    if connection.dialect.name == "sqlite":
        statement = f"{_sqlite_statement(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {news}"
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])
    else:
        places = ", ".join(f":{name}" for name in columns)
        names = ", ".join(columns)
        statement = (
            f"INSERT INTO {table.name} ({names}) VALUES ({places}) ON CONFLICT ({key}) DO UPDATE SET {news}"  # noqa: S608 - schema's names
        )
        connection.execute(text(statement), [dict(zip(columns, row, strict=True)) for row in rows])
