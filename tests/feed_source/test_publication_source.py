"""PUBLICATIONS, PUBLICATION, ACCOUNTS: as they stand in the record."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from engine.feed import publication_source
from engine.feed.listings import ListedAccount, listing_from
from engine.feed.piece import PieceKind
from engine.feed.refusals import DigestUnknown
from engine.repository.publication_copy import Publication
from engine.store.publications import NewPublication, append_publication, withdraw
from engine.store.relying_party_accounts import RelyingPartyAccount, insert_account, mark_closed
from tests.feed_source.source_home import FeedSource

THEN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
SECONDS = int(THEN.timestamp())
CONTENT = bytes(range(256)) * 3
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def publish(source: FeedSource, kind: str, octets: bytes | None) -> int:
    new = NewPublication(kind, "標題", "title", "文", "text", THEN, version="1.1", effective_at=THEN)
    with source.context.store.write() as connection:
        return append_publication(connection, new, octets).id


async def test_publications_are_listed_withdrawn_ones_too(source: FeedSource) -> None:
    document, news = publish(source, "cps", CONTENT), publish(source, "news", None)
    with source.context.store.write() as connection:
        withdraw(connection, news, THEN)
    _, body = await source.ask(PieceKind.PUBLICATIONS)
    first, second = listing_from(body, Publication)
    assert first == Publication(
        id=document,
        kind="cps",
        title_zh="標題",
        title_en="title",
        text_zh="文",
        text_en="text",
        version="1.1",
        significance=None,
        about=None,
        published_at=SECONDS,
        effective_at=SECONDS,
        comments_until=None,
        content_sha256=DIGEST,
        content_size=len(CONTENT),
        media_type=None,
        file_name=None,
        withdrawn_at=None,
    )
    assert (second.id, second.withdrawn_at, second.content_sha256) == (news, SECONDS, None)


@pytest.mark.parametrize("piece", [100, 256, len(CONTENT), len(CONTENT) + 1])
async def test_a_content_comes_piece_by_piece(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    publish(source, "cps", CONTENT)
    monkeypatch.setattr(publication_source, "MOST_BODY_OCTETS", piece)
    octets, is_last = b"", False
    while not is_last:
        statement, body = await source.ask(PieceKind.PUBLICATION, digest=DIGEST, after=len(octets))
        assert (statement.after, statement.through) == (len(octets), len(octets) + len(body))
        octets, is_last = octets + body, statement.is_last
    assert octets == CONTENT


async def test_a_content_that_is_not_there_or_shorter(source: FeedSource) -> None:
    publish(source, "cps", CONTENT)
    for digest, after in (("0" * 64, 0), (DIGEST, len(CONTENT) + 1)):
        with pytest.raises(DigestUnknown):
            await source.ask(PieceKind.PUBLICATION, digest=digest, after=after)
    empty = publish(source, "cp", b"")
    assert empty
    statement, body = await source.ask(PieceKind.PUBLICATION, digest=hashlib.sha256(b"").hexdigest())
    assert (body, statement.is_last) == (b"", True)


async def test_accounts_that_are_open_are_listed(source: FeedSource) -> None:
    with source.context.store.write() as connection:
        insert_account(connection, RelyingPartyAccount("bank", b"t" * 32, ("203.0.113.0/24",), 1_000, THEN))
        insert_account(connection, RelyingPartyAccount("closed", None, (), None, THEN))
        mark_closed(connection, "closed", THEN)
    _, body = await source.ask(PieceKind.ACCOUNTS)
    assert listing_from(body, ListedAccount) == [
        ListedAccount(
            name="bank",
            token_sha256=(b"t" * 32).hex(),
            address_ranges=["203.0.113.0/24"],
            monthly_quota=1_000,
        )
    ]
