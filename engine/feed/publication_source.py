"""PUBLICATIONS, PUBLICATION and ACCOUNTS: what the CA publishes by hand, and who pays for OCSP.

A withdrawn publication stays in the listing, with the time; its content stays too.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from engine.authority.context import AuthorityContext
from engine.feed.body import Body
from engine.feed.listings import ListedAccount, listing_octets
from engine.feed.marks import mark_of
from engine.feed.piece import MOST_BODY_OCTETS
from engine.feed.refusals import DigestUnknown
from engine.repository.publication_copy import Publication
from engine.store.publications import StoredPublication, publications
from engine.store.relying_party_accounts import open_accounts
from engine.store.schema import publication, publication_content, relying_party_account
from engine.store.status_changes import last_change


class PublicationSource:
    """Makes the bodies about publications and accounts.

    Args:
        context: the record.
    """

    def __init__(self, context: AuthorityContext) -> None:
        self._store = context.store

    def look(self, connection: Connection) -> tuple[object, ...]:
        """Return something that is another as soon as one of the listings would be; reads no text. Blocks."""
        published = select(
            func.max(publication.c.id), func.count(publication.c.withdrawn_at), func.count(publication.c.id)
        )
        opened = select(
            func.max(relying_party_account.c.id),
            func.count(relying_party_account.c.closed_at),
            func.count(relying_party_account.c.id),
        )
        return (*connection.execute(published).one(), *connection.execute(opened).one())

    def publications(self) -> Body:
        """Return the listing of publications. Blocks.

        Raises:
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            listed = [_listed(one) for one in publications(connection)]
            return _whole(connection, listing_octets(listed))

    def accounts(self) -> Body:
        """Return the listing of the accounts that are open. Blocks.

        Raises:
            StoreError: the record could not be read.
        """
        with self._store.read() as connection:
            listed = [
                ListedAccount(
                    name=one.name,
                    token_sha256=_hex(one.token_sha256),
                    address_ranges=list(one.address_ranges),
                    monthly_quota=one.monthly_quota,
                )
                for one in open_accounts(connection)
            ]
            return _whole(connection, listing_octets(listed))

    def publication(self, sha256: str, after: int) -> Body:
        """Return octets of a content. Blocks.

        Args:
            sha256: of the content.
            after: how many octets are there already.

        Raises:
            DigestUnknown: there is no such content, or not so long a one.
            StoreError: the record could not be read.
        """
        content = publication_content.c.content
        part = func.substr(content, after + 1, MOST_BODY_OCTETS, type_=content.type)
        with self._store.read() as connection:
            sequence = last_change(connection)
            mark = mark_of(connection, sequence)
            row = connection.execute(
                select(func.length(content), part).where(
                    publication_content.c.sha256 == bytes.fromhex(sha256)
                )
            ).one_or_none()
        if row is None or after > row[0]:
            raise DigestUnknown(
                "no content with this digest is published, or not so long a one",
                place="publication",
                value=sha256,
                rule="read the listing again",
            )
        size, octets = row[0], bytes(row[1] or b"")  # SQLite: the part of what is empty is NULL
        through = after + len(octets)
        return Body(octets, sequence, mark, after, through, through >= size)


def _whole(connection: Connection, octets: bytes) -> Body:
    sequence = last_change(connection)
    return Body(octets, sequence, mark_of(connection, sequence))


def _listed(one: StoredPublication) -> Publication:
    row = one._asdict()
    for name in ("published_at", "effective_at", "comments_until", "withdrawn_at"):
        row[name] = _seconds(row[name])
    row["content_sha256"] = _hex(one.content_sha256)
    return Publication(**row)


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()
