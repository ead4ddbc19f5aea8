"""The certificate index of a public host is made here: one SQLite file, written by the process that reads the feed.

The schema is its own, and nothing is in it that the feed could not bring again (docs/decisions/0032).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from engine.errors import StoreError
from engine.repository.name_bigrams import bigrams, folded
from engine.repository.published_certificate import PublishedCertificate

_VERSION = 1
"""Of the schema; another one is built anew from the feed."""

_PAGE_OCTETS = 16_384
"""As the record's (docs/decisions/0007): ten certificates a page instead of two."""

_WRITER_CACHE_KIB = 65_536
"""A guess: more than one transaction of the feed changes."""

_WRITER_SECONDS = 60.0
"""How long a commit waits for readers to finish. A guess: a question takes milliseconds."""

_SCHEMA = """
CREATE TABLE certificate (
    item_id INTEGER PRIMARY KEY, serial BLOB NOT NULL, subject_kind TEXT NOT NULL, name TEXT NOT NULL, unit_name TEXT,
    county TEXT, number TEXT, usage TEXT NOT NULL, rank TEXT, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL, certificate BLOB NOT NULL
);
CREATE UNIQUE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_number ON certificate (number) WHERE number IS NOT NULL;
CREATE TABLE searched_name (item_id INTEGER PRIMARY KEY, folded TEXT NOT NULL);
CREATE INDEX searched_name_folded ON searched_name (folded);
CREATE VIRTUAL TABLE name_bigram USING fts5 (pairs, content='', columnsize=0, tokenize='ascii');
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL, mark TEXT NOT NULL, snapshot_until INTEGER,
    certificates INTEGER NOT NULL
);
INSERT INTO progress VALUES (1, 0, '', NULL, 0);
"""

_PLACES = ", ".join("?" * len(PublishedCertificate._fields))


class IndexPosition(NamedTuple):
    """How far the index has followed the record."""

    sequence: int
    """The last entry of the change feed that is in it."""
    mark: str
    """Of that entry."""
    snapshot_until: int | None
    """While the certificates from before that entry still come: the last item that did; None when they all have."""


class CertificateIndexWriter:
    """Writes the index; one process at a time.

    Args:
        path: the file, made if it is missing.

    Raises:
        StoreError: it cannot be opened or made, or is of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._translated("cannot be opened"):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))  # SQLite's own mode is 0644
            self._connection = sqlite3.connect(path, timeout=_WRITER_SECONDS, isolation_level=None)
            self._prepare()

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute(f"PRAGMA page_size = {_PAGE_OCTETS}")
        execute("PRAGMA journal_mode = TRUNCATE")  # not WAL: its readers would have to write
        execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
        execute("PRAGMA cache_spill = OFF")  # a spill would shut readers out until the commit
        (version,) = execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            self._connection.close()
            raise StoreError(
                "the certificate index is of another version",
                place=str(self._path),
                value=version,
                rule=f"version {_VERSION}; the feed builds it anew: sealmint feed pull --from-nothing",
            )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the certificate index {what}", place=str(self._path), value=str(error)
            ) from error

    def position(self) -> IndexPosition:
        """Return how far the index is; (0, "", None) for a new one.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._translated("cannot be read"):
            row = self._connection.execute("SELECT sequence, mark, snapshot_until FROM progress").fetchone()
            return IndexPosition(*row)

    def put(self, certificates: Iterable[PublishedCertificate], position: IndexPosition) -> None:
        """Add certificates and say how far the index is then, in one transaction. What is there already stays.

        Raises:
            StoreError: the file cannot be written, or another item has one of the serials; nothing was added.
        """
        with self._translated("cannot be written"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                added = sum(map(self._add, certificates))
                self._connection.execute(
                    "UPDATE progress SET sequence = ?, mark = ?, snapshot_until = ?, certificates = certificates + ?",
                    (*position, added),
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def _add(self, certificate: PublishedCertificate) -> int:
        """Add one; return how many that was."""
        added = self._connection.execute(
            f"INSERT INTO certificate VALUES ({_PLACES}) ON CONFLICT (item_id) DO NOTHING",  # noqa: S608 - `?` only
            certificate,
        ).rowcount
        if added:
            item, text = certificate.item_id, folded(certificate.name + (certificate.unit_name or ""))
            self._connection.execute("INSERT INTO searched_name VALUES (?, ?)", (item, text))
            self._connection.execute(
                "INSERT INTO name_bigram (rowid, pairs) VALUES (?, ?)", (item, bigrams(text))
            )
        return added

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> CertificateIndexWriter:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
