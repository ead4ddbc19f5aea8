"""The copy of the accepted certificates: built, followed, interrupted, and what it does not take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from engine.errors import FeedRejected, FeedUnavailable
from engine.feed.certificate_copy import BUILDING_NAME, INDEX_NAME, CertificateCopy
from engine.feed.entries import AcceptedCertificate, pack_entries
from engine.feed.piece import PieceKind
from engine.feed.question import Question
from engine.repository.certificate_index import CertificateIndex
from tests.feed_pull.toy_feed import START, ToyFeed, certificate, record, serial_of, toy, trust
from tests.judges.toy_authority import Holder
from tests.responders.synthetic_status import der_of
from tests.x509.specimens import PROFILES

ITEMS = 7


@pytest.fixture
def feed(feed: ToyFeed) -> ToyFeed:
    """With seven accepted certificates."""
    for item in range(1, ITEMS + 1):
        feed.accept(item)
    return feed


async def follow(feed: ToyFeed, directory: Path, *, from_nothing: bool = False) -> None:
    async with feed.client() as client:
        copy = CertificateCopy(client, directory, trust(), PROFILES)
        copy.open(from_nothing=from_nothing)
        await copy.follow(await feed.news(client))


def found(directory: Path) -> list[int]:
    index = CertificateIndex(directory / INDEX_NAME)
    return [item for item in range(1, 20) if index.by_serial(serial_of(item))]


@pytest.mark.cps("2.6.3")
async def test_from_nothing_and_then_what_is_accepted(feed: ToyFeed, tmp_path: Path) -> None:
    await follow(feed, tmp_path)
    assert found(tmp_path) == list(range(1, ITEMS + 1))
    feed.put((1, record(1)))
    feed.accept(10, 9)
    feed.asked.clear()
    await follow(feed, tmp_path)
    assert found(tmp_path) == [*range(1, ITEMS + 1), 9, 10]
    assert feed.questions(PieceKind.CERTIFICATES_SNAPSHOT) == []
    (published,) = CertificateIndex(tmp_path / INDEX_NAME).by_serial(serial_of(10))
    assert (published.certificate, published.accepted_at) == (certificate(10), START)
    feed.asked.clear()
    await follow(feed, tmp_path)
    assert feed.questions(PieceKind.CERTIFICATES) == []  # there was nothing


async def test_a_build_goes_on_where_it_was_cut_off(feed: ToyFeed, tmp_path: Path) -> None:
    def cut(question: Question) -> httpx.Response | None:
        if question.kind is PieceKind.CERTIFICATES_SNAPSHOT and question.after == 6:
            raise httpx.ReadError("connection reset")
        return None

    feed.refuse = cut
    with pytest.raises(FeedUnavailable):
        await follow(feed, tmp_path)
    assert not (tmp_path / INDEX_NAME).exists()
    feed.accept(20 - 1)
    feed.refuse = lambda question: None
    feed.asked.clear()
    await follow(feed, tmp_path)
    assert [one.after for one in feed.questions(PieceKind.CERTIFICATES_SNAPSHOT)] == [6]
    assert [one.after for one in feed.questions(PieceKind.CERTIFICATES)] == [ITEMS]
    assert found(tmp_path) == [*range(1, ITEMS + 1), 19]
    assert not (tmp_path / BUILDING_NAME).exists()


async def test_another_record_is_not_followed_but_from_nothing(feed: ToyFeed, tmp_path: Path) -> None:
    await follow(feed, tmp_path)
    feed.history = "another"
    del feed.items[ITEMS]
    with pytest.raises(FeedRejected, match="--from-nothing"):
        await follow(feed, tmp_path)
    del feed.changes[-1]
    with pytest.raises(FeedRejected, match="stands before"):
        await follow(feed, tmp_path)
    await follow(feed, tmp_path, from_nothing=True)
    assert found(tmp_path) == list(range(1, ITEMS))


def of_another_ca() -> bytes:
    return certificate(9, toy().impostor)


def forged() -> bytes:
    octets = certificate(9)
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def of_no_subscriber() -> bytes:
    holder: Holder = toy().responder
    return der_of(holder)


def of_itself() -> bytes:
    return der_of(toy().root)


def nothing() -> bytes:
    return b""


@pytest.mark.cps("2.6.3")
@pytest.mark.parametrize("wrong", [of_another_ca, forged, of_no_subscriber, of_itself, nothing])
async def test_a_wrong_certificate_in_a_well_signed_piece_keeps_the_whole_piece_out(
    feed: ToyFeed, tmp_path: Path, wrong: Callable[[], bytes]
) -> None:
    await follow(feed, tmp_path)
    feed.accept(8, 9)

    def wrong_second(question: Question, body: bytes) -> bytes:
        if question.kind is not PieceKind.CERTIFICATES:
            return body
        right, spoiled = (AcceptedCertificate(START, octets).packed() for octets in (certificate(8), wrong()))
        return pack_entries([(8, right), (9, spoiled)])

    feed.body_for = wrong_second
    with pytest.raises(FeedRejected):
        await follow(feed, tmp_path)
    assert found(tmp_path) == list(range(1, ITEMS + 1))
