"""The search index of the published certificates on a public host, as those that answer questions see it.

They have the right to read the file and no other (docs/decisions/0032); `certificate_index_writer` writes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from engine.errors import HomeUnusable, StoreError
from engine.repository.certificate_index_writer import CertificateIndexWriter, IndexPosition
from engine.repository.name_bigrams import folded, phrase, telling_part
from engine.repository.published_certificate import PublishedCertificate, published_certificate

__all__ = [
    "CERTIFICATE_INDEX_NAME",
    "CertificateIndex",
    "CertificateIndexWriter",
    "IndexPosition",
    "PublishedCertificate",
    "published_certificate",
]

CERTIFICATE_INDEX_NAME = "certificates.sqlite"
"""In `[repository].directory`."""

_READER_SECONDS = 5.0
"""How long a question waits for a commit to finish. A guess: as many times what one takes."""

_FIELDS = ", ".join(PublishedCertificate._fields)
_LAST_CHARACTER = "\U0010ffff"
"""Behind every name that begins with what stands before it; a noncharacter, so in no name (docs/decisions/0014)."""


class CertificateIndex:
    """Answers questions from the index; any thread may ask.

    Every question opens the file, so one that was built anew beside it and took its name is seen at once. Every
    method raises HomeUnusable where there is no index yet, and StoreError where it cannot be read.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def by_serial(self, serial: bytes) -> list[PublishedCertificate]:
        """Return the certificate with a serial number (16 octets), if it is published."""
        return self._select("serial = ?", serial, limit=1)

    def by_number(self, number: str, after: int = 0, limit: int = 100) -> list[PublishedCertificate]:
        """Return the certificates of an entity by its 統一編號, its branches' with it, in the order of their items.

        Args:
            number: eight digits.
            after: the item to go on from: the last one of the page before; 0 for the first page.
            limit: how many at most.
        """
        return self._select("number = ? AND item_id > ? ORDER BY item_id", number, after, limit=limit)

    def by_name(self, text: str, after: int = 0, limit: int = 100) -> list[PublishedCertificate]:
        """Return the certificates whose name contains a text.

        First come those that have just this name, then those whose name begins with it, both by name, then all
        others, in the order of their items. A branch's name is that of its company with its own behind
        it. Names are compared folded (`name_bigrams.folded`). A single character is looked for at the beginning only.

        Args:
            text: the text.
            after: as for `by_number`.
            limit: how many at most.
        """
        wanted = folded(text)
        if not wanted:
            return []
        reached = self._folded_name(after) if after else wanted
        found: list[PublishedCertificate] = []
        if reached.startswith(wanted):
            found = self._beginning_with(wanted, reached, after, limit)
            after = 0
        if len(found) < limit and len(wanted) > 1:
            found += self._containing(wanted, after, limit - len(found))
        return found

    def _beginning_with(
        self, wanted: str, reached: str, after: int, limit: int
    ) -> list[PublishedCertificate]:
        return self._select(
            "(folded, item_id) > (?, ?) AND folded < ? ORDER BY folded, item_id",
            reached,
            after,
            wanted + _LAST_CHARACTER,
            limit=limit,
            source="searched_name JOIN certificate USING (item_id)",
        )

    def _containing(self, wanted: str, after: int, limit: int) -> list[PublishedCertificate]:
        """Those that contain the text and do not begin with it. FTS5 reads in the order of items, and stops."""
        return self._select(
            "item_id IN (SELECT item_id FROM name_bigram JOIN searched_name ON item_id = name_bigram.rowid"
            " WHERE name_bigram MATCH ? AND name_bigram.rowid > ? AND instr(folded, ?) > 1"
            " ORDER BY name_bigram.rowid LIMIT ?) ORDER BY item_id",
            phrase(telling_part(wanted)),
            after,
            wanted,
            limit,
            limit=limit,
        )

    def _folded_name(self, item_id: int) -> str:
        with self._open() as connection:
            row = connection.execute(
                "SELECT folded FROM searched_name WHERE item_id = ?", (item_id,)
            ).fetchone()
            return "" if row is None else str(row[0])

    def _select(
        self, condition: str, *values: object, limit: int, source: str = "certificate"
    ) -> list[PublishedCertificate]:
        statement = f"SELECT {_FIELDS} FROM {source} WHERE {condition} LIMIT ?"  # noqa: S608 - our own text
        with self._open() as connection:
            rows = connection.execute(statement, (*values, limit)).fetchall()
        return [PublishedCertificate(*row) for row in rows]

    def count(self) -> int:
        """Return how many certificates are published."""
        with self._open() as connection:
            return int(connection.execute("SELECT certificates FROM progress").fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            raise HomeUnusable("no certificates have come over the feed yet", place=str(self._path))
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=_READER_SECONDS)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreError(
                "the certificate index cannot be read", place=str(self._path), value=str(error)
            ) from error

    def close(self) -> None:
        """Nothing is kept open between questions; here for those that close what they opened."""
