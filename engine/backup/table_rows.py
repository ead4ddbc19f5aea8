"""The rows of the record in a form that no database owns: what copies, backups and restores have in common.

A row is its values in the order of the schema's columns, each with a letter for its kind and its length. Rows come in
the order of the primary key, text by its octets, so two databases that hold the same have the same octets, and one
SHA-256.

Where a chunk ends is decided by its last row alone. A row that comes in between therefore changes the one chunk it
falls into, which is what makes an incremental backup small for tables whose keys are random, such as the claims.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, func, select, text
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import LargeBinary, String

from engine.errors import BackupUnusable
from engine.store.bulk_append import append
from engine.store.schema import UtcTime, metadata

Value = int | bytes | str | bool | None
Row = Sequence[Value]

ROWS_AT_ONCE = 1_000
"""Rows fetched, and written, in one go. A guess: some megabytes of the widest."""

CHUNK_MEAN_ROWS = 2_048
"""A chunk ends after one row in so many. A guess: a megabyte of TBSs, and few enough files for a million cards."""

CHUNK_OCTETS = 8 << 20
"""A chunk ends here at the latest. A guess: what is held in memory, several times over."""

_HEAD = struct.Struct(">cI")
_INTEGER = struct.Struct(">q")


def tables() -> list[Table]:
    """Return every table of the record, those that others refer to first, with values as the driver has them."""
    return [_neutral(table) for table in metadata.sorted_tables]


def _neutral(table: Table) -> Table:
    """The table with times as the numbers they are kept as."""
    columns: list[Column[object]] = [
        Column(
            column.name,
            BigInteger() if isinstance(column.type, UtcTime) else column.type,
            primary_key=column.primary_key,
            autoincrement=False,
        )
        for column in table.columns
    ]
    return Table(table.name, MetaData(), *columns)


def read_rows(connection: Connection, table: Table) -> Iterator[Row]:
    """Yield every row of a table of `tables()` in the order of its primary key, in constant memory."""
    order = [_by_octets(connection, column) for column in table.primary_key.columns]
    rows = connection.execute(select(table).order_by(*order), execution_options={"yield_per": ROWS_AT_ONCE})
    for row in rows:
        yield tuple(row)


def _by_octets(connection: Connection, column: Column[object]) -> ColumnElement[object]:
    """Text by its octets, as SQLite has it anyway; a PostgreSQL database may have a language's order."""
    is_text = isinstance(column.type, String) and not isinstance(column.type, LargeBinary)
    if is_text and connection.dialect.name == "postgresql":
        return cast("ColumnElement[object]", column.collate("C"))
    return column


def write_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Append rows to a table of `tables()`, in a writing transaction."""
    append(connection, table, tuple(column.name for column in table.columns), rows)


def encode(row: Row) -> bytes:
    """Return the octets of a row."""
    return b"".join(map(_encode_value, row))


def _encode_value(value: Value) -> bytes:
    match value:
        case None:
            return _HEAD.pack(b"n", 0)
        case bool():
            return _HEAD.pack(b"y" if value else b"f", 0)
        case int():
            return _HEAD.pack(b"i", _INTEGER.size) + _INTEGER.pack(value)
        case str():
            octets = value.encode()
            return _HEAD.pack(b"t", len(octets)) + octets
        case _:
            return _HEAD.pack(b"o", len(value)) + bytes(value)


def decode(octets: bytes, columns: int) -> Iterator[Row]:
    """Yield the rows of a chunk.

    Raises:
        BackupUnusable: they are not rows of so many columns.
    """
    place, row = 0, list[Value]()
    while place < len(octets):
        try:
            kind, length = _HEAD.unpack_from(octets, place)
            end = place + _HEAD.size + length
            row.append(_decode_value(kind, octets[place + _HEAD.size : end]))
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise BackupUnusable("a chunk holds no rows", value=str(error)) from error
        place = end
        if len(row) == columns:
            yield tuple(row)
            row = []
    if row or place != len(octets):
        raise BackupUnusable("a chunk ends within a row")


def _decode_value(kind: bytes, content: bytes) -> Value:
    if kind == b"i":
        number: int = _INTEGER.unpack(content)[0]
        return number
    if kind == b"t":
        return content.decode()
    if kind == b"o":
        return content
    return {b"n": None, b"y": True, b"f": False}[kind]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows that follow each other."""

    rows: list[Row]
    octets: bytes


def chunks(rows: Iterator[Row]) -> Iterator[Chunk]:
    """Cut rows into chunks; where one ends is a property of the row it ends with."""
    taken: list[Row] = []
    parts: list[bytes] = []
    size = 0
    for row in rows:
        octets = encode(row)
        taken.append(row)
        parts.append(octets)
        size += len(octets)
        if size >= CHUNK_OCTETS or zlib.crc32(octets) % CHUNK_MEAN_ROWS == 0:
            yield Chunk(taken, b"".join(parts))
            taken, parts, size = [], [], 0
    if taken:
        yield Chunk(taken, b"".join(parts))


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table holds: how many rows, and the SHA-256 over all of them."""

    rows: int
    sha256: str

    def document(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {"rows": self.rows, "sha256": self.sha256}


class DigestOfRows:
    """Adds up the digest of a table while its rows pass."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0

    def add(self, chunk: Chunk) -> None:
        """Take the next rows."""
        self._hash.update(chunk.octets)
        self._rows += len(chunk.rows)

    def result(self) -> TableDigest:
        """Return the digest of all that passed."""
        return TableDigest(self._rows, self._hash.hexdigest())


def digest_of(connection: Connection, table: Table) -> TableDigest:
    """Return the digest of a table as it stands."""
    digest = DigestOfRows()
    for chunk in chunks(read_rows(connection, table)):
        digest.add(chunk)
    return digest.result()


def stay_open(connection: Connection) -> None:
    """Let a long transaction wait for the other database: PostgreSQL would end one that does nothing for a while."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def advance_numbering(connection: Connection) -> None:
    """Have the database number new rows after those written; SQLite does by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        key = [column.name for column in table.primary_key.columns]
        if len(key) != 1:
            continue
        sequence = connection.execute(select(func.pg_get_serial_sequence(table.name, key[0]))).scalar_one()
        if sequence is None:
            continue
        last = connection.execute(select(func.max(table.c[key[0]]))).scalar_one()
        if last is not None:
            connection.execute(select(func.setval(sequence, last)))
