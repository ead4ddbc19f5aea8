"""STATUS, STATUS_SNAPSHOT and PARTIES: what a status store on a public host is written from.

The entries of STATUS and STATUS_SNAPSHOT are card numbers with packed records (`engine/status/card_record.py`), as they
are when the body is read: a card may come twice, never older than before.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from engine.authority.context import AuthorityContext
from engine.errors import StoreError
from engine.feed.body import Body, page_of
from engine.feed.marks import check_position, mark_of
from engine.status.card_record import pack
from engine.status.record_source import CardRecordSource, entries_for
from engine.store.schema import card
from engine.store.status_changes import StatusChange, changes_after, last_change

ENTRIES_AT_ONCE = 1_000
"""Entries of the change feed looked at for a piece, at most: as many as the follower takes in a step."""

CARDS_AT_ONCE = 4_000
"""Cards of a piece, about: with the largest records they are just below what a body may have."""


class StatusSource:
    """Makes the bodies about status.

    Args:
        context: the record.
    """

    def __init__(self, context: AuthorityContext) -> None:
        self._store = context.store
        self._source = CardRecordSource(context)

    def status(self, after: int, mark: str) -> Body:
        """Return the records of the cards that the entries after a position touch. Blocks.

        Raises:
            PositionUnknown: the record never stood there.
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            check_position(connection, after, mark)
            last = last_change(connection)
            entries = entries_for(changes_after(connection, after, ENTRIES_AT_ONCE), CARDS_AT_ONCE)
            octets, entries = self._fitting(connection, entries)
            through = entries[-1].sequence if entries else after
            return Body(octets, last, mark_of(connection, through), after, through, through >= last)

    def _fitting(
        self, connection: Connection, entries: Sequence[StatusChange]
    ) -> tuple[bytes, Sequence[StatusChange]]:
        """The records of as many of the entries as a body has room for: a unit may be larger than it counts for."""
        while True:
            page = page_of(
                (number, pack(record)) for number, record in self._source.touched(connection, entries)
            )
            if page.is_whole:
                return page.octets, entries
            if len(entries) == 1:
                raise StoreError(
                    "an entry touches more cards than a piece of the feed has room for",
                    place=f"change feed, entry {entries[0].sequence}",
                )
            entries = entries[: len(entries) // 2]

    def snapshot(self, after: int) -> Body:
        """Return the records of the cards whose numbers come next. Blocks.

        What changes while a reader takes page after page is in STATUS after the sequence number of its first page.

        Raises:
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            sequence = last_change(
                connection
            )  # before any card is read: what changes meanwhile is read again
            mark = mark_of(connection, sequence)
            last_card = connection.execute(select(func.max(card.c.id))).scalar_one_or_none() or 0
            until = max(after, min(after + CARDS_AT_ONCE, last_card))
            records = self._source.range(connection, after, until)
            page = page_of((number, pack(record)) for number, record in records)
        if not page.is_whole and page.last_taken is not None:
            until = page.last_taken
        return Body(page.octets, sequence, mark, after, until, until >= last_card)

    def parties(self) -> Body:
        """Return who issues and who answers. Blocks.

        Raises:
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            sequence = last_change(connection)
            mark = mark_of(connection, sequence)
        return Body(self._source.parties(), sequence, mark)
