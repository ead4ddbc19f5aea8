"""Asking for many rows by their numbers: the other place where the databases differ.

On SQLite the driver takes the numbers as they are, and its own tuples come back; a bound parameter of SQLAlchemy's
costs more than the row it finds (bench.presign).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

ASKED_AT_ONCE = 500
"""Numbers in one question: SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535. A guess within both."""

_GIVEN = "SELECT unnest(CAST(:numbers AS bigint[]))"
"""PostgreSQL takes all numbers as one array: the statement stays the same, and is prepared once."""


def rows_of(connection: Connection, statement: str, numbers: Sequence[int]) -> Iterator[Sequence[Any]]:
    """Yield the rows of a statement for many numbers.

    Args:
        connection: a snapshot or a transaction.
        statement: with `{places}` where the numbers belong, as in `WHERE id IN ({places})`; no other parameters.
        numbers: any count of them; rows come in the order of the parts that were asked at once.
    """
    for start in range(0, len(numbers), ASKED_AT_ONCE):
        part = numbers[start : start + ASKED_AT_ONCE]
        if connection.dialect.name == "sqlite":
            places = ", ".join("?" * len(part))
            found = connection.exec_driver_sql(statement.format(places=places), tuple(part))
        else:
            found = connection.execute(text(statement.format(places=_GIVEN)), {"numbers": list(part)})
        yield from found.fetchall()
