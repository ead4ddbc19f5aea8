"""CRL files: fetched in pieces, verified, renamed into place; and what is not put there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from engine.errors import FeedRejected, FeedUnavailable
from engine.feed.crl_copy import FUTURE_SECONDS, SPOOL_NAME, CrlCopy
from engine.feed.piece import PieceKind
from engine.feed.question import Question
from engine.status.crl_files import file_of
from tests.feed_pull.toy_feed import COMPLETE_URI, CRL_PIECE, PARTITION_URI, ToyFeed, reply, toy, trust
from tests.judges.toy_authority import HOUR, NOW
from tests.judges.toy_crl import crl, partition_scope

DELTA_URI = PARTITION_URI.replace(".crl", "-delta.crl")
NUMBER = 2026010100
REVOKED = {0x4000 + place: x509.ReasonFlags.key_compromise for place in range(40)}


async def follow(feed: ToyFeed, directory: Path, *, from_nothing: bool = False) -> None:
    async with feed.client() as client:
        copy = CrlCopy(client, directory, trust(), feed.clock)
        copy.open(from_nothing=from_nothing)
        await copy.follow(await feed.news(client))


def published(directory: Path) -> dict[str, bytes]:
    return {uri: file_of(directory, uri).read_bytes() for uri in URIS if file_of(directory, uri).exists()}


URIS = (PARTITION_URI, DELTA_URI, COMPLETE_URI)


def publish_all(feed: ToyFeed, number: int = NUMBER) -> dict[str, bytes]:
    scope = partition_scope(PARTITION_URI)
    lists = {
        PARTITION_URI: crl(toy().ca, REVOKED, number=number, scope=scope),
        DELTA_URI: crl(toy().ca, {}, number=number, scope=scope, base=number - 1),
        COMPLETE_URI: crl(toy().ca, REVOKED, number=number),
    }
    for uri, octets in lists.items():
        feed.publish(uri, number, octets)
    return lists


@pytest.mark.cps("2.6.3")
async def test_every_list_comes_to_its_place_and_only_what_differs_is_fetched(
    feed: ToyFeed, tmp_path: Path
) -> None:
    lists = publish_all(feed)
    await follow(feed, tmp_path)
    assert published(tmp_path) == lists
    newer = crl(toy().ca, {}, number=NUMBER + 1)
    feed.publish(COMPLETE_URI, NUMBER + 1, newer)
    feed.asked.clear()
    await follow(feed, tmp_path)
    assert published(tmp_path) == lists | {COMPLETE_URI: newer}
    digests = {question.digest for question in feed.questions(PieceKind.CRL)}
    assert digests == {hashlib.sha256(newer).hexdigest()}


async def test_a_fetch_goes_on_where_it_was_cut_off(feed: ToyFeed, tmp_path: Path) -> None:
    lists = publish_all(feed)

    def cut(question: Question, piece: bytes) -> bytes:
        if question.kind is PieceKind.CRL and question.after == 2 * CRL_PIECE:
            raise ConnectionError
        return piece

    feed.spoil_piece = cut
    with pytest.raises(ConnectionError):
        await follow(feed, tmp_path)
    feed.spoil_piece = lambda question, piece: piece
    feed.asked.clear()
    await follow(feed, tmp_path)
    assert feed.questions(PieceKind.CRL)[0].after == 2 * CRL_PIECE
    assert published(tmp_path) == lists


async def test_a_list_that_is_gone_meanwhile_is_waited_for(feed: ToyFeed, tmp_path: Path) -> None:
    publish_all(feed)
    feed.refuse = lambda question: reply(404, b"{}") if question.kind is PieceKind.CRL else None
    with pytest.raises(FeedUnavailable):
        await follow(feed, tmp_path)


def other_key() -> bytes:
    return crl(toy().impostor, REVOKED, number=NUMBER + 1, scope=partition_scope(PARTITION_URI))


def spoiled() -> bytes:
    return crl(toy().ca, REVOKED, number=NUMBER + 1, scope=partition_scope(PARTITION_URI), spoil=True)


def of_another_place() -> bytes:
    return crl(toy().ca, REVOKED, number=NUMBER + 1, scope=partition_scope(COMPLETE_URI))


def delta_in_place_of_a_full_one() -> bytes:
    return crl(toy().ca, {}, number=NUMBER + 1, scope=partition_scope(PARTITION_URI), base=NUMBER)


def to_come() -> bytes:
    since = NOW + timedelta(seconds=FUTURE_SECONDS + 1)
    scope = partition_scope(PARTITION_URI)
    return crl(toy().ca, {}, number=NUMBER + 1, this_update=since, next_update=since + HOUR, scope=scope)


def of_another_number() -> bytes:
    return crl(toy().ca, {}, number=NUMBER + 2, scope=partition_scope(PARTITION_URI))


def no_list() -> bytes:
    return b"\x30\x03\x02\x01\x00"


def with_an_unknown_critical_extension() -> bytes:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    scope = partition_scope(PARTITION_URI)
    return crl(toy().ca, {}, number=NUMBER + 1, scope=scope, more=(unknown, True))


@pytest.mark.cps("2.6.3")
@pytest.mark.parametrize(
    "wrong",
    [
        other_key,
        spoiled,
        of_another_place,
        delta_in_place_of_a_full_one,
        to_come,
        of_another_number,
        no_list,
        with_an_unknown_critical_extension,
    ],
)
async def test_a_wrong_list_in_well_signed_pieces_is_not_put_in_place_and_others_are(
    feed: ToyFeed, tmp_path: Path, wrong: Callable[[], bytes]
) -> None:
    lists = publish_all(feed)
    await follow(feed, tmp_path)
    newer = crl(toy().ca, {}, number=NUMBER + 1)
    feed.publish(PARTITION_URI, NUMBER + 1, wrong())
    feed.publish(COMPLETE_URI, NUMBER + 1, newer)
    with pytest.raises(FeedRejected):
        await follow(feed, tmp_path)
    assert published(tmp_path) == lists | {COMPLETE_URI: newer}
    assert list(_spooled(tmp_path)) == []


def _spooled(directory: Path) -> list[Path]:
    return sorted((directory / SPOOL_NAME).iterdir())


async def test_a_lower_number_is_not_put_in_place_but_from_nothing(feed: ToyFeed, tmp_path: Path) -> None:
    lists = publish_all(feed)
    await follow(feed, tmp_path)
    older = publish_all(feed, NUMBER - 5)
    with pytest.raises(FeedRejected, match="older"):
        await follow(feed, tmp_path)
    assert published(tmp_path) == lists
    await follow(feed, tmp_path, from_nothing=True)
    assert published(tmp_path) == older


async def test_a_damaged_list_is_replaced_by_the_same(feed: ToyFeed, tmp_path: Path) -> None:
    lists = publish_all(feed)
    await follow(feed, tmp_path)
    file_of(tmp_path, COMPLETE_URI).write_bytes(lists[COMPLETE_URI][:-1] + b"\x00")
    await follow(feed, tmp_path)
    assert published(tmp_path) == lists


async def test_pieces_that_do_not_make_the_list_are_not_kept(feed: ToyFeed, tmp_path: Path) -> None:
    publish_all(feed)
    feed.body_for = lambda question, body: body[::-1] if question.kind is PieceKind.CRL else body
    with pytest.raises(FeedRejected, match="not what was listed"):
        await follow(feed, tmp_path)
    assert published(tmp_path) == {}


async def test_a_list_that_is_no_longer_published_stays_until_its_next_update(
    feed: ToyFeed, tmp_path: Path
) -> None:
    lists = publish_all(feed)
    await follow(feed, tmp_path)
    del feed.crls[DELTA_URI]
    await follow(feed, tmp_path)
    assert published(tmp_path) == lists
    feed.clock.move(timedelta(hours=3))
    await follow(feed, tmp_path)
    assert DELTA_URI not in published(tmp_path)


async def test_a_uri_that_leads_out_of_the_directory_is_not_followed(feed: ToyFeed, tmp_path: Path) -> None:
    feed.publish("http://toy.example/../../evil.crl", NUMBER, crl(toy().ca, {}, number=NUMBER))
    with pytest.raises(FeedRejected, match="URI"):
        await follow(feed, tmp_path / "crl")
    assert not (tmp_path / "evil.crl").exists()
