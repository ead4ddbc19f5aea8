"""Publications with their contents, and accounts, on a public host."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import orjson
import pytest

from engine.errors import FeedRejected
from engine.feed.listings import ListedAccount
from engine.feed.piece import PieceKind
from engine.feed.publication_copy_writer import AccountLane, PublicationLane
from engine.repository.publication_copy import PublicationCopy
from tests.feed_pull.toy_feed import ToyFeed

TEXT, OTHER = "作業基準".encode() * 100, b"news"


async def follow(feed: ToyFeed, directory: Path) -> None:
    async with feed.client() as client:
        lane = PublicationLane(client, directory)
        lane.open()
        await lane.follow(await feed.news(client))


def contents(directory: Path) -> set[str]:
    return {path.name for path in (directory / "contents").iterdir()}


async def test_contents_come_before_the_listing_that_names_them(feed: ToyFeed, tmp_path: Path) -> None:
    digest = feed.publish_content(1, TEXT)
    await follow(feed, tmp_path)
    copy = PublicationCopy(tmp_path)
    (published,) = copy.read()
    assert (published.id, published.title_zh, published.content_sha256) == (1, "新聞", digest)
    path = copy.content_path(digest)
    assert path.read_bytes() == TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    feed.body_for = lambda question, body: body[::-1] if question.kind is PieceKind.PUBLICATION else body
    feed.publish_content(2, OTHER)
    with pytest.raises(FeedRejected, match="not what was listed"):
        await follow(feed, tmp_path)
    assert [one.id for one in copy.read()] == [1]


async def test_a_content_that_is_no_longer_named_goes(feed: ToyFeed, tmp_path: Path) -> None:
    feed.publish_content(1, TEXT)
    await follow(feed, tmp_path)
    feed.publications.clear()
    digest = feed.publish_content(2, OTHER)
    feed.asked.clear()
    await follow(feed, tmp_path)
    assert contents(tmp_path) == {digest}
    assert [one.digest for one in feed.questions(PieceKind.PUBLICATION)] == [digest]


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"id": 1}]', b'[{"id": "../../evil"}]'])
async def test_what_is_no_listing_leaves_the_old_one(feed: ToyFeed, tmp_path: Path, body: bytes) -> None:
    feed.publish_content(1, TEXT)
    await follow(feed, tmp_path)
    feed.publish_content(2, OTHER)
    feed.body_for = lambda question, right: body if question.kind is PieceKind.PUBLICATIONS else right
    with pytest.raises(FeedRejected, match="no listing"):
        await follow(feed, tmp_path)
    assert [one.id for one in PublicationCopy(tmp_path).read()] == [1]


async def test_accounts_are_written_as_they_are_listed(feed: ToyFeed, tmp_path: Path) -> None:
    path = tmp_path / "usage" / "accounts.json"
    digest = hashlib.sha256(b"token").hexdigest()
    feed.accounts = [
        ListedAccount(name="bank", token_sha256=digest, address_ranges=["192.0.2.0/24"], monthly_quota=None)
    ]
    async with feed.client() as client:
        lane = AccountLane(client, path)
        lane.open()
        await lane.follow(await feed.news(client))
        await lane.follow(await feed.news(client))
    (account,) = orjson.loads(path.read_bytes())
    assert account == {
        "name": "bank",
        "token_sha256": digest,
        "address_ranges": ["192.0.2.0/24"],
        "monthly_quota": None,
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(feed.questions(PieceKind.ACCOUNTS)) == 1  # the second time it was there
