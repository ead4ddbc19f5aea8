"""CERTIFICATES and CERTIFICATES_SNAPSHOT: accepted certificates, for the public repository (CPS 2.6.1, 4.3.1).

Entries are item numbers with the certificate and when it was accepted. What is not accepted never leaves the CA host
this way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.authority.context import AuthorityContext
from engine.errors import StoreError
from engine.feed.body import Body, Page, page_of
from engine.feed.entries import AcceptedCertificate
from engine.feed.marks import check_position, mark_of
from engine.store.accepted_certificates import (
    AcceptedItem,
    acceptances_after,
    accepted_in_range,
    accepted_items,
)
from engine.store.status_changes import last_change
from engine.x509.certificate import assemble

CERTIFICATES_AT_ONCE = 2_000
"""Certificates of a piece: at 1.7 kB each they are below what a body may have."""

ENTRIES_AT_ONCE = 50_000
"""Entries of the change feed searched for acceptances for a piece. A guess: some ten milliseconds."""

_MICROSECONDS = 1_000_000


class CertificateSource:
    """Makes the bodies with accepted certificates.

    Args:
        context: the record, and with what the CA signs.
    """

    def __init__(self, context: AuthorityContext) -> None:
        self._store = context.store
        self._algorithm = context.authority.issuer.algorithm

    def certificates(self, after: int, mark: str) -> Body:
        """Return the certificates accepted by the entries after a position. Blocks.

        Raises:
            PositionUnknown: the record never stood there.
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            check_position(connection, after, mark)
            last = last_change(connection)
            through = min(after + ENTRIES_AT_ONCE, last)
            entries = acceptances_after(connection, after, through, CERTIFICATES_AT_ONCE)
            if len(entries) == CERTIFICATES_AT_ONCE:
                through = entries[-1].sequence
            while True:
                items = accepted_items(connection, [entry.subject for entry in entries])
                page = self._page(items)
                if page.is_whole:
                    break
                entries = entries[: len(entries) // 2]
                through = entries[-1].sequence
            return Body(page.octets, last, mark_of(connection, through), after, through, through >= last)

    def snapshot(self, after: int) -> Body:
        """Return the accepted certificates whose item numbers come next. Blocks.

        What is accepted while a reader takes page after page is in CERTIFICATES after the sequence number of its
        first page.

        Raises:
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            sequence = last_change(connection)  # before any of them is read
            mark = mark_of(connection, sequence)
            items = accepted_in_range(connection, after, CERTIFICATES_AT_ONCE)
        page = self._page(items)
        through = after if page.last_taken is None else page.last_taken
        is_last = page.is_whole and len(items) < CERTIFICATES_AT_ONCE
        return Body(page.octets, sequence, mark, after, through, is_last)

    def _page(self, items: Sequence[AcceptedItem]) -> Page:
        page = page_of(self._entries(items))
        if items and page.last_taken is None:
            raise StoreError(
                "a certificate is larger than a piece of the feed", place=f"item {items[0].item_id}"
            )
        return page

    def _entries(self, items: Sequence[AcceptedItem]) -> Iterator[tuple[int, bytes]]:
        for one in items:
            certificate = assemble(one.tbs, self._algorithm, one.signature)
            yield one.item_id, AcceptedCertificate(one.accepted_at // _MICROSECONDS, certificate).packed()
