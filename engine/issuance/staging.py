"""Scratch space of planning: register rows and cards, sorted by number, in bounded memory for files of any size.

Both inputs may be larger than memory and come in any order; planning needs all rows of one number together and the
cards made for it beside them. A throw-away SQLite file sorts them; it is local, private to the process, and gone when
planning ends, however it ends.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from engine.errors import StoreError
from engine.kinds import Kind, Rank, Usage
from engine.register.row import RegisterRow

SCRATCH_NAME = "planning"
"""The directory of the scratch space in the home; always the same, so that what a killed process left is found."""

_SCHEMA = """
CREATE TABLE register_row (
    identifier TEXT, row_number INTEGER, kind TEXT, company_identifier TEXT, name TEXT, branch_name TEXT, status TEXT,
    status_code TEXT, capital INTEGER, county TEXT, address TEXT, set_up_date TEXT, suspended_from TEXT,
    suspended_to TEXT);
CREATE TABLE key_claim (key_digest BLOB, occasion INTEGER, item_id INTEGER);
CREATE TABLE card (
    line INTEGER PRIMARY KEY, identifier TEXT, kind TEXT, rank TEXT, number TEXT, signature_key BLOB,
    signature_digest BLOB, encryption_key BLOB, encryption_digest BLOB);
"""

_CLAIMED = (
    "CREATE TABLE claimed (value, line INTEGER, field TEXT)",
    "INSERT INTO claimed SELECT number, line, 'card_number' FROM card",
    "INSERT INTO claimed SELECT signature_digest, line, 'keys.signature' FROM card WHERE signature_digest IS NOT NULL",
    """INSERT INTO claimed SELECT encryption_digest, line, 'keys.encryption' FROM card
        WHERE encryption_digest IS NOT NULL""",
    "CREATE INDEX claimed_value ON claimed (value, line)",
)
"""One statement after the other: executescript would commit, and each row after it would be a transaction."""


class StagedCard(NamedTuple):
    """A card of the card file whose keys passed their checks."""

    line: int
    identifier: str
    kind: Kind
    rank: Rank
    number: str
    keys: tuple[tuple[Usage, bytes, bytes], ...]
    """Usage, SubjectPublicKeyInfo (DER) and its SHA-256, for each key pair."""


class Repeated(NamedTuple):
    """A card of the file that repeats a card number or a key of an earlier line."""

    line: int
    number: str
    field: str
    value: str
    first_line: int


class Stage:
    """The scratch space; made by :func:`open_stage`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_rows(self, rows: Iterable[RegisterRow]) -> None:
        """Take register rows."""
        self._connection.executemany(
            f"INSERT INTO register_row VALUES ({', '.join('?' * 14)})",  # noqa: S608 - no value is in it
            (
                (
                    row.identifier,
                    row.row_number,
                    row.kind.value,
                    row.company_identifier,
                    row.name,
                    row.branch_name,
                    row.status,
                    row.status_code,
                    row.capital,
                    row.county,
                    row.address,
                    _day(row.set_up_date),
                    _day(row.suspended_from),
                    _day(row.suspended_to),
                )
                for row in rows
            ),
        )

    def add_key_claims(self, claims: Iterable[tuple[bytes, int, int]]) -> None:
        """Take claims on keys: digest, occasion and item."""
        self._connection.executemany("INSERT INTO key_claim VALUES (?, ?, ?)", claims)

    def key_claims(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield the claims in the order of the digests."""
        yield from self._connection.execute("SELECT * FROM key_claim ORDER BY key_digest")

    def add_cards(self, cards: Iterable[StagedCard]) -> None:
        """Take cards whose keys passed their checks."""
        self._connection.executemany(
            "INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (_card_columns(card) for card in cards)
        )

    def sort_cards(self) -> None:
        """Index the cards; call it once, when all are in."""
        self._connection.execute("CREATE INDEX card_order ON card (identifier, kind, rank, line)")

    def sort_rows(self) -> None:
        """Index the rows; call it once, when all are in."""
        self._connection.execute("CREATE INDEX row_order ON register_row (identifier, row_number)")

    def drop_repeated(self) -> Iterator[Repeated]:
        """Take out cards that repeat a card number or a key of an earlier line, and yield them."""
        for statement in _CLAIMED:
            self._connection.execute(statement)
        repeated = self._connection.execute("""
            SELECT later.line, card.number, later.field, later.value, min(earlier.line)
            FROM claimed AS later JOIN claimed AS earlier
                ON earlier.value = later.value AND (earlier.line, earlier.field) < (later.line, later.field)
            JOIN card ON card.line = later.line
            GROUP BY later.line ORDER BY later.line
        """).fetchall()
        self._connection.executemany("DELETE FROM card WHERE line = ?", ((row[0],) for row in repeated))
        self._connection.execute("DROP TABLE claimed")
        for line, number, field, value, first_line in repeated:
            text = value.hex() if isinstance(value, bytes) else str(value)
            yield Repeated(line, number, field, text, first_line)

    def entities(self) -> Iterator[tuple[list[RegisterRow], list[StagedCard]]]:
        """Yield, number by number, its register rows and the cards made for it; either may be empty."""
        rows = groupby(self._rows(), key=lambda row: row.identifier)
        cards = groupby(self._cards(), key=lambda card: card.identifier)
        row_group = next(rows, None)
        card_group = next(cards, None)
        while row_group is not None or card_group is not None:
            numbers = [group[0] for group in (row_group, card_group) if group is not None]
            number = min(numbers)
            these_rows: list[RegisterRow] = []
            these_cards: list[StagedCard] = []
            if row_group is not None and row_group[0] == number:
                these_rows = list(row_group[1])
                row_group = next(rows, None)
            if card_group is not None and card_group[0] == number:
                these_cards = list(card_group[1])
                card_group = next(cards, None)
            yield these_rows, these_cards

    def name_of(self, identifier: str) -> str | None:
        """Return the name that the extract itself gives for a company or partnership, None if it gives two."""
        names = self._connection.execute(
            "SELECT DISTINCT name FROM register_row WHERE identifier = ? AND branch_name IS NULL LIMIT 2",
            (identifier,),
        ).fetchall()
        return str(names[0][0]) if len(names) == 1 else None

    def _rows(self) -> Iterator[RegisterRow]:
        cursor = self._connection.execute("SELECT * FROM register_row ORDER BY identifier, row_number")
        for identifier, row_number, kind, *texts, set_up, suspended_from, suspended_to in cursor:
            company, name, branch_name, status, status_code, capital, county, address = texts
            yield RegisterRow(
                row_number,
                _KINDS[kind],
                identifier,
                company,
                name,
                branch_name,
                status,
                status_code,
                capital,
                county,
                address,
                _from_day(set_up),
                _from_day(suspended_from),
                _from_day(suspended_to),
            )

    def _cards(self) -> Iterator[StagedCard]:
        cursor = self._connection.execute("SELECT * FROM card ORDER BY identifier, kind, rank, line")
        for line, identifier, kind, rank, number, *columns in cursor:
            keys = ((Usage.SIGNATURE, *columns[0:2]), (Usage.ENCRYPTION, *columns[2:4]))
            yield StagedCard(
                line,
                identifier,
                _KINDS[kind],
                _RANKS[rank],
                number,
                tuple(key for key in keys if key[1] is not None),
            )


_KINDS = {kind.value: kind for kind in Kind}
_RANKS = {rank.value: rank for rank in Rank}


def _card_columns(card: StagedCard) -> tuple[object, ...]:
    keys = {usage: (key, digest) for usage, key, digest in card.keys}
    nothing = (None, None)
    return (
        card.line,
        card.identifier,
        card.kind.value,
        card.rank.value,
        card.number,
        *keys.get(Usage.SIGNATURE, nothing),
        *keys.get(Usage.ENCRYPTION, nothing),
    )


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _from_day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


@contextmanager
def open_stage(directory: Path) -> Iterator[Stage]:
    """Open scratch space below a directory; everything in it is gone when the block ends.

    Only one process at a time may, which is why planning has a lock. What a killed one left there goes first.

    Raises:
        StoreError: the scratch space cannot be written; the disk may be full.
    """
    scratch = directory / SCRATCH_NAME
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(mode=0o700)
    except OSError as error:
        raise StoreError(
            "the scratch space of planning cannot be made", place=str(scratch), value=error.strerror
        ) from error
    try:
        with closing(_open(scratch / "stage.sqlite")) as connection:
            yield Stage(connection)
    except sqlite3.Error as error:
        raise StoreError(
            "the scratch space of planning cannot be used", place=str(scratch), value=str(error)
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN")  # without one, every row would be a transaction
    return connection
