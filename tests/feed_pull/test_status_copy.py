"""The copy of the status: built, followed, interrupted, and what it does not take."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import trio

from engine.errors import FeedRejected, FeedUnavailable
from engine.feed.entries import pack_entries, unpack_entries
from engine.feed.piece import PieceKind, Statement
from engine.feed.question import Question
from engine.feed.status_copy import StatusCopy
from engine.status.card_record import pack
from engine.status.status_store import CURRENT, CertificateStanding, StatusReader
from engine.status.status_store_build import BUILDING, OLDEST_SECONDS
from engine.store.schema import CertificateState
from tests.feed_pull.toy_feed import START, ToyFeed, parties_of, record, serial_of, toy, trust

CARDS = 8
REVOKED = CertificateState.REVOKED


@pytest.fixture
def feed(feed: ToyFeed) -> ToyFeed:
    """With eight cards, each brought by an entry of its own."""
    for card in range(1, CARDS + 1):
        feed.put((card, record(card)))
    return feed


@asynccontextmanager
async def copying(feed: ToyFeed, directory: Path, *, from_nothing: bool = False) -> AsyncIterator[StatusCopy]:
    async with feed.client() as client:
        copy = StatusCopy(client, directory, trust(), feed.clock)
        copy.open(from_nothing=from_nothing)
        try:
            yield copy
        finally:
            copy.close()


async def follow(feed: ToyFeed, copy: StatusCopy) -> None:
    async with feed.client() as client:
        await copy.follow(await feed.news(client))


async def pull(feed: ToyFeed, directory: Path, *, from_nothing: bool = False) -> None:
    async with copying(feed, directory, from_nothing=from_nothing) as copy:
        await follow(feed, copy)


def standing(directory: Path, card: int) -> CertificateStanding | None:
    with StatusReader(directory) as store:
        return store.standing(0, serial_of(card))


def states(directory: Path) -> list[CertificateState | None]:
    found = [standing(directory, card) for card in range(1, CARDS + 1)]
    return [one and one.state for one in found]


def contents(directory: Path) -> tuple[object, ...]:
    """Everything that a rejected piece must leave as it was."""
    with StatusReader(directory) as store:
        return (store.freshness(), *(store.record(0, serial_of(card)) for card in range(1, CARDS + 1)))


async def test_from_nothing_the_cards_come_by_number_and_then_what_changed_meanwhile(
    feed: ToyFeed, tmp_path: Path
) -> None:
    def change(question: Question) -> None:
        if question.kind is PieceKind.STATUS_SNAPSHOT and question.after == 6:
            feed.put((1, record(1, 2, REVOKED)))  # its page is long copied

    feed.refuse = change
    await pull(feed, tmp_path)
    assert states(tmp_path) == [REVOKED] + [CertificateState.GOOD] * (CARDS - 1)
    with StatusReader(tmp_path) as store:
        assert store.freshness() == (CARDS + 1, START)
        assert store.presigned(0, serial_of(2), START + 1) is not None
    assert [one.after for one in feed.questions(PieceKind.STATUS_SNAPSHOT)] == [0, 3, 6]
    assert [one.after for one in feed.questions(PieceKind.STATUS)] == [CARDS]
    assert not (tmp_path / BUILDING).exists()


async def test_what_changed_in_days_comes_from_where_the_copy_stands(feed: ToyFeed, tmp_path: Path) -> None:
    await pull(feed, tmp_path)
    feed.clock.move(timedelta(days=9))
    for card in range(1, CARDS):
        feed.put((card, record(card, 2, REVOKED)))
    feed.asked.clear()
    await pull(feed, tmp_path)
    assert states(tmp_path) == [REVOKED] * (CARDS - 1) + [CertificateState.GOOD]
    assert feed.questions(PieceKind.STATUS_SNAPSHOT) == []
    assert [one.after for one in feed.questions(PieceKind.STATUS)] == [8, 11, 14]
    assert all(one.mark == feed.mark(one.after) for one in feed.questions(PieceKind.STATUS))


async def test_a_build_goes_on_where_it_was_cut_off(feed: ToyFeed, tmp_path: Path) -> None:
    feed.refuse = cut_at(PieceKind.STATUS_SNAPSHOT, 6)
    with pytest.raises(FeedUnavailable):
        await pull(feed, tmp_path)
    assert (tmp_path / BUILDING).exists()
    feed.put((1, record(1, 2, REVOKED)))
    feed.refuse = lambda question: None
    feed.asked.clear()
    await pull(feed, tmp_path)
    assert [one.after for one in feed.questions(PieceKind.STATUS_SNAPSHOT)] == [6]
    assert [one.after for one in feed.questions(PieceKind.STATUS)] == [CARDS]  # from the first page on
    assert states(tmp_path) == [REVOKED] + [CertificateState.GOOD] * (CARDS - 1)


async def test_a_build_that_is_too_old_or_of_another_ca_is_begun_anew(feed: ToyFeed, tmp_path: Path) -> None:
    feed.refuse = cut_at(PieceKind.STATUS_SNAPSHOT, 6)

    def grow_old() -> None:
        feed.clock.move(timedelta(seconds=OLDEST_SECONDS + 1))

    def belong_to_another() -> None:
        path = tmp_path / BUILDING
        path.write_text(path.read_text().replace(trust().feed, "00" * 20))

    for spoil in (grow_old, belong_to_another):
        with pytest.raises(FeedUnavailable):
            await pull(feed, tmp_path)
        spoil()
        feed.asked.clear()
        with pytest.raises(FeedUnavailable):
            await pull(feed, tmp_path)
        assert feed.questions(PieceKind.STATUS_SNAPSHOT)[0].after == 0
        assert sum(name.startswith("generation-") for name in names_in(tmp_path)) == 1


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def cut_at(kind: PieceKind, after: int) -> Callable[[Question], httpx.Response | None]:
    def refuse(question: Question) -> httpx.Response | None:
        if question.kind is kind and question.after == after:
            raise httpx.ReadError("connection reset")
        return None

    return refuse


async def test_from_nothing_builds_beside_the_copy_in_use(feed: ToyFeed, tmp_path: Path) -> None:
    await pull(feed, tmp_path)
    feed.history = "put back from a backup"
    with pytest.raises(FeedRejected, match="--from-nothing"):
        await pull(feed, tmp_path)
    with StatusReader(tmp_path) as reader:
        feed.refuse = cut_at(PieceKind.STATUS_SNAPSHOT, 3)
        with pytest.raises(FeedUnavailable):
            await pull(feed, tmp_path, from_nothing=True)
        assert (
            not reader.reopen_if_replaced()
        )  # it is answered from the old one until the new one is complete
        feed.refuse = lambda question: None
        await pull(feed, tmp_path)
        assert reader.reopen_if_replaced()
    assert states(tmp_path) == [CertificateState.GOOD] * CARDS


async def test_nothing_newer_renews_the_sign_of_life_as_of_the_question(
    feed: ToyFeed, tmp_path: Path
) -> None:
    async with copying(feed, tmp_path) as copy:
        await follow(feed, copy)
        feed.clock.move(timedelta(seconds=100))
        async with feed.client() as client:
            news = await feed.news(client)
        feed.clock.move(timedelta(hours=5))  # the answer was held back so long
        await copy.follow(news)
        assert copy.position.progress == (CARDS, START + 100)


async def test_a_delayed_change_does_not_make_the_copy_look_fresh(feed: ToyFeed, tmp_path: Path) -> None:
    await pull(feed, tmp_path)
    feed.put((1, record(1, 2, REVOKED)))

    def delay(question: Question, piece: bytes) -> bytes:
        if question.kind is PieceKind.STATUS:
            feed.clock.move(timedelta(hours=5))
        return piece

    feed.spoil_piece = delay
    await pull(feed, tmp_path)
    with StatusReader(tmp_path) as store:
        assert store.freshness() == (CARDS + 1, START)


async def test_while_it_is_behind_the_copy_does_not_call_itself_current(
    feed: ToyFeed, tmp_path: Path
) -> None:
    await pull(feed, tmp_path)
    for card in range(1, CARDS):
        feed.put((card, record(card, 2, REVOKED)))
    feed.clock.move(timedelta(hours=1))
    feed.refuse = cut_at(PieceKind.STATUS, CARDS + 3)
    with pytest.raises(FeedUnavailable):
        await pull(feed, tmp_path)
    with StatusReader(tmp_path) as store:
        assert store.freshness() == (CARDS + 3, START)


async def test_a_head_that_was_on_its_way_while_changes_came_is_no_roll_back(
    feed: ToyFeed, tmp_path: Path
) -> None:
    async with copying(feed, tmp_path) as copy, feed.client() as client:
        await copy.follow(await feed.news(client))
        old = await feed.news(client)
        feed.put((1, record(1, 2, REVOKED)))
        await copy.follow(await feed.news(client))
        await copy.follow(old)
        assert copy.position.progress.sequence == CARDS + 1


async def test_a_new_responder_is_asked_for_when_its_answers_come(feed: ToyFeed, tmp_path: Path) -> None:
    async with copying(feed, tmp_path) as copy, feed.client() as client:
        await copy.follow(await feed.news(client))
        old = feed.parties
        feed.put((1, record(1, 2)))
        news = await feed.news(client)
        feed.parties = parties_of(toy().ca, toy().responder, 6)
        feed.cards[1] = feed.cards[1].replace(b"\x00\x05\x03\x00\x03", b"\x00\x06\x03\x00\x03")
        assert feed.parties != old
        await copy.follow(news)
    with StatusReader(tmp_path) as store:
        assert store.presigned(0, serial_of(1), START + 1) is not None
        assert store.presigned(0, serial_of(2), START + 1) is None  # of a responder that is gone


# ---- what is not taken ----


def other_challenge(statement: Statement) -> Statement:
    return statement.model_copy(update={"challenge": "0" * 32})


def other_feed(statement: Statement) -> Statement:
    return statement.model_copy(update={"feed": toy().impostor.key_hash.hex()})


def other_place(statement: Statement) -> Statement:
    return statement.model_copy(update={"after": statement.after + 1, "through": statement.through + 1})


def left_out(statement: Statement) -> Statement:
    return statement.model_copy(update={"through": statement.sequence + 1})


def is_none(statement: Statement) -> Statement:
    return statement.model_copy(update={"through": statement.after, "is_last": False})


@pytest.mark.cps("2.6.3")
@pytest.mark.parametrize("spoil", [other_challenge, other_feed, other_place, left_out, is_none])
async def test_a_signed_piece_that_answers_another_question_is_not_taken(
    feed: ToyFeed, tmp_path: Path, spoil: Callable[[Statement], Statement]
) -> None:
    await pull(feed, tmp_path)
    before = contents(tmp_path)
    feed.put((1, record(1, 2, REVOKED)))
    feed.spoil_statement = lambda one: spoil(one) if one.kind is PieceKind.STATUS else one
    with pytest.raises(FeedRejected, match="another question"):
        await pull(feed, tmp_path)
    assert contents(tmp_path) == before


def cut_short(piece: bytes) -> bytes:
    return piece[:-1]


def lengthened(piece: bytes) -> bytes:
    return piece + b"\x00"


def changed_body(piece: bytes) -> bytes:
    return piece[:-1] + bytes((piece[-1] ^ 1,))


def changed_statement(piece: bytes) -> bytes:
    return piece.replace(b'"is_last":true', b'"is_last":false')


def no_signature(piece: bytes) -> bytes:
    statement, _, body = piece.split(b"\n", 2)
    return b"\n".join((statement, b"", body))


def empty(piece: bytes) -> bytes:
    return piece[:0]


@pytest.mark.cps("2.6.3")
@pytest.mark.parametrize(
    "spoil", [cut_short, lengthened, changed_body, changed_statement, no_signature, empty]
)
async def test_a_piece_that_was_touched_on_its_way_is_not_taken(
    feed: ToyFeed, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    await pull(feed, tmp_path)
    before = contents(tmp_path)
    feed.put((1, record(1, 2, REVOKED)))
    feed.spoil_piece = lambda question, piece: spoil(piece) if question.kind is PieceKind.STATUS else piece
    with pytest.raises(FeedRejected):
        await pull(feed, tmp_path)
    assert contents(tmp_path) == before


async def test_a_piece_that_is_shown_again_is_not_taken(feed: ToyFeed, tmp_path: Path) -> None:
    await pull(feed, tmp_path)
    kept: list[bytes] = []

    def keep_or_replay(question: Question, piece: bytes) -> bytes:
        if question.kind is PieceKind.HEAD:
            kept.append(piece)
            return kept[0]
        return piece

    feed.spoil_piece = keep_or_replay
    await pull(feed, tmp_path)
    feed.put((1, record(1, 2, REVOKED)))
    with pytest.raises(FeedRejected, match="another question"):
        await pull(feed, tmp_path)


async def test_a_piece_signed_by_another_key_is_not_taken(feed: ToyFeed, tmp_path: Path) -> None:
    feed.signer = toy().impostor_responder
    with pytest.raises(FeedRejected, match="not signed by the CA"):
        await pull(feed, tmp_path)


def forged(card: int, octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def of_another_ca(card: int, octets: bytes) -> bytes:
    return pack(record(card, 2, responder=toy().impostor_responder))


def of_other_certificates(card: int, octets: bytes) -> bytes:
    return octets.replace(serial_of(card), serial_of(card + 100))


def cut_off(card: int, octets: bytes) -> bytes:
    return octets[:70]


def many_certificates(card: int, octets: bytes) -> bytes:
    return octets[:5] + b"\xff" + octets[6:]


def no_certificates(card: int, octets: bytes) -> bytes:
    return octets[:5] + b"\x00" + octets[6:]


def unknown_issuer(card: int, octets: bytes) -> bytes:
    return octets[:4] + b"\x07" + octets[5:]


def unknown_state(card: int, octets: bytes) -> bytes:
    return octets[:22] + b"\x09" + octets[23:]


def older_revision(card: int, octets: bytes) -> bytes:
    return pack(record(card, 0))


def after_its_responder(card: int, octets: bytes) -> bytes:
    return pack(record(card, 2, at=START + 1_000 * 3_600))


@pytest.mark.cps("2.6.3")
@pytest.mark.parametrize(
    "spoil",
    [
        forged,
        of_another_ca,
        of_other_certificates,
        cut_off,
        many_certificates,
        no_certificates,
        unknown_issuer,
        unknown_state,
        older_revision,
        after_its_responder,
    ],
)
async def test_a_wrong_record_in_a_well_signed_piece_keeps_the_whole_piece_out(
    feed: ToyFeed, tmp_path: Path, spoil: Callable[[int, bytes], bytes]
) -> None:
    await pull(feed, tmp_path)
    before = contents(tmp_path)
    feed.put((1, record(1, 2, REVOKED)), (2, record(2, 2)))

    def wrong_second(question: Question, body: bytes) -> bytes:
        if question.kind is not PieceKind.STATUS:
            return body
        return pack_entries(
            (card, spoil(card, octets) if card == 2 else octets) for card, octets in unpack_entries(body)
        )

    feed.body_for = wrong_second
    with pytest.raises(FeedRejected, match="card 2"):
        await pull(feed, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "parties",
    [
        lambda: parties_of(toy().impostor, toy().impostor_responder),
        lambda: parties_of(toy().ca, toy().impostor_responder),
        lambda: parties_of(toy().ca, toy().unauthorised_responder),
        lambda: b"{}",
        lambda: b"no JSON",
    ],
)
async def test_another_cas_parties_are_not_taken(
    feed: ToyFeed, tmp_path: Path, parties: Callable[[], bytes]
) -> None:
    await pull(feed, tmp_path)
    before = contents(tmp_path)
    feed.parties = parties()
    with pytest.raises(FeedRejected):
        await pull(feed, tmp_path)
    assert contents(tmp_path) == before


async def test_a_record_that_stands_before_the_copy_is_not_followed(feed: ToyFeed, tmp_path: Path) -> None:
    await pull(feed, tmp_path)
    before = contents(tmp_path)
    del feed.changes[-2:]
    with pytest.raises(FeedRejected, match="stands before"):
        await pull(feed, tmp_path)
    assert contents(tmp_path) == before


async def test_another_record_that_has_come_further_is_not_followed(feed: ToyFeed, tmp_path: Path) -> None:
    await pull(feed, tmp_path)
    before = contents(tmp_path)
    feed.history = "another"
    feed.put((1, record(1, 2, REVOKED)))
    with pytest.raises(FeedRejected, match="not the one"):
        await pull(feed, tmp_path)
    assert contents(tmp_path) == before


async def test_a_page_with_cards_of_another_one_is_not_taken(feed: ToyFeed, tmp_path: Path) -> None:
    def another_page(question: Question, body: bytes) -> bytes:
        if question.kind is PieceKind.STATUS_SNAPSHOT and question.after:
            return pack_entries([(1, feed.cards[1])])
        return body

    feed.body_for = another_page
    with pytest.raises(FeedRejected, match="another one"):
        await pull(feed, tmp_path)
    assert CURRENT not in names_in(tmp_path)


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (PieceKind.PARTIES, 0),
        (PieceKind.STATUS_SNAPSHOT, 0),
        (PieceKind.STATUS_SNAPSHOT, 3),
        (PieceKind.STATUS_SNAPSHOT, 6),
        (PieceKind.STATUS, CARDS),
        (PieceKind.STATUS, CARDS + 3),
    ],
)
def test_killed_while_it_builds_it_goes_on_without_a_hand(
    feed: ToyFeed, tmp_path: Path, kind: PieceKind, after: int
) -> None:
    def change_or_kill(question: Question) -> None:
        if feed.sequence == CARDS and question.kind is PieceKind.STATUS_SNAPSHOT and question.after:
            for card in range(1, 5):
                feed.put((card, record(card, 2, REVOKED)))
        if (question.kind, question.after) == (kind, after):
            os.kill(os.getpid(), signal.SIGKILL)

    feed.refuse = change_or_kill
    child = os.fork()
    if not child:
        try:
            trio.run(pull, feed, tmp_path)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    feed.refuse = lambda question: None
    for card in range(1, 5):
        feed.put((card, record(card, 2, REVOKED)))
    trio.run(pull, feed, tmp_path)
    assert states(tmp_path) == [REVOKED] * 4 + [CertificateState.GOOD] * (CARDS - 4)
    with StatusReader(tmp_path) as store:
        assert store.freshness().sequence == feed.sequence
        assert all(store.presigned(0, serial_of(card), START + 1) for card in range(1, CARDS + 1))
    assert sum(name.startswith("generation-") for name in names_in(tmp_path)) == 1
