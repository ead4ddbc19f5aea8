"""HEAD: tells what differs, wakes those who wait, and keeps their number and their cost within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from sqlalchemy import QueuePool

from engine.audit.digest_journal import FEED, DigestJournal
from engine.errors import Overloaded, StoreError
from engine.feed import publisher_answers
from engine.feed.listings import Head
from engine.feed.piece import PieceKind, Statement, digest_of
from engine.feed.publisher_answers import FeedAnswers, journalled
from engine.feed.question import MOST_WAIT_SECONDS
from engine.status.origins import Verb
from engine.store.relying_party_accounts import RelyingPartyAccount, insert_account
from tests.feed_source.source_home import FeedSource, question, sign
from tests.feed_source.test_publication_source import THEN, publish

LISTINGS = {
    "parties": PieceKind.PARTIES,
    "crls": PieceKind.CRLS,
    "publications": PieceKind.PUBLICATIONS,
    "accounts": PieceKind.ACCOUNTS,
}


class Paced(FeedAnswers):
    """Takes a look when the test wants it, and counts."""

    def __init__(self, source: FeedSource) -> None:
        super().__init__(source.context, sign, source.context.clock)
        self.looked = [trio.Event() for _ in range(6)]
        self.connections_in_pauses: set[int] = set()
        self._send, self._receive = trio.open_memory_channel[None](0)

    def _look(self) -> tuple[object, ...]:
        seen = super()._look()
        trio.from_thread.run_sync(self._tell)
        return seen

    def _tell(self) -> None:
        self.looked[self.looks].set()

    @property
    def looks(self) -> int:
        return sum(event.is_set() for event in self.looked)

    async def _pause(self) -> None:
        pool = self._context.store.engine.pool
        assert isinstance(pool, QueuePool)
        self.connections_in_pauses.add(pool.checkedout())
        await self._receive.receive()

    async def go_on(self) -> None:
        """Wait until somebody pauses, and end the pause."""
        await self._send.send(None)


async def test_it_names_every_listing_by_its_digest(source: FeedSource) -> None:
    statement, body = await source.ask(PieceKind.HEAD)
    head = Head.model_validate_json(body)
    assert (
        head.sequence == statement.sequence == source.home.number("SELECT max(sequence) FROM status_change")
    )
    for name, kind in LISTINGS.items():
        _, listing = await source.ask(kind)
        assert getattr(head, name) == digest_of(listing)


def a_change(source: FeedSource) -> None:
    source.act(Verb.SUSPEND, 1, "token-lost")


def a_crl(source: FeedSource) -> None:
    path = min(Path(source.context.configuration.crl.directory).rglob("*.crl"))
    other = max(Path(source.context.configuration.crl.directory).rglob("*.crl"))
    octets = other.read_bytes()
    path.with_name(".new").write_bytes(octets)
    path.with_name(".new").rename(path)


def a_publication(source: FeedSource) -> None:
    publish(source, "news", None)


def an_account(source: FeedSource) -> None:
    with source.context.store.write() as connection:
        insert_account(connection, RelyingPartyAccount("bank", None, (), None, THEN))


@pytest.mark.parametrize(
    ("happen", "differs"),
    [(a_change, "sequence"), (a_crl, "crls"), (a_publication, "publications"), (an_account, "accounts")],
)
async def test_whoever_waits_is_woken(
    source: FeedSource,
    nursery: trio.Nursery,
    happen: Callable[[FeedSource], None],
    differs: str,
) -> None:
    source.answers = answers = Paced(source)
    _, known = await source.ask(PieceKind.HEAD)
    send, receive = trio.open_memory_channel[bytes](1)

    async def wait() -> None:
        _, body = await source.ask(PieceKind.HEAD, known=digest_of(known), wait=MOST_WAIT_SECONDS)
        await send.send(body)

    nursery.start_soon(wait)
    for _ in range(3):
        await answers.go_on()
    await answers.looked[3].wait()
    with pytest.raises(trio.WouldBlock):
        receive.receive_nowait()
    happen(source)
    await answers.go_on()
    body = await receive.receive()
    assert answers.looks == 5
    assert answers.connections_in_pauses == {0}
    before, after = Head.model_validate_json(known), Head.model_validate_json(body)
    assert {name for name in Head.model_fields if getattr(before, name) != getattr(after, name)} == {differs}


async def test_without_news_the_same_is_said_again_when_the_time_is_up(source: FeedSource) -> None:
    _, known = await source.ask(PieceKind.HEAD)
    statement, body = await source.ask(PieceKind.HEAD, known=digest_of(known), wait=1)
    assert body == known
    assert statement.is_last
    _, body = await source.ask(PieceKind.HEAD, known="0" * 64, wait=MOST_WAIT_SECONDS)  # does not wait
    assert body == known


async def test_so_many_wait_and_no_more(
    source: FeedSource, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_answers, "MOST_WAITING", 1)
    source.answers = answers = Paced(source)
    _, known = await source.ask(PieceKind.HEAD)
    waiting = question(PieceKind.HEAD, known=digest_of(known), wait=MOST_WAIT_SECONDS)
    nursery.start_soon(answers.answer, waiting)
    await answers.go_on()
    with pytest.raises(Overloaded):
        await answers.answer(waiting)
    await source.ask(PieceKind.STATUS_SNAPSHOT)  # whoever does not wait is not kept out
    nursery.cancel_scope.cancel()


async def test_so_many_are_in_hand_and_no_more(source: FeedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_answers, "MOST_IN_HAND", 1)
    signing, going_on = trio.Event(), trio.Event()

    async def slow(message: bytes) -> bytes:
        signing.set()
        await going_on.wait()
        return await sign(message)

    answers = FeedAnswers(source.context, slow, source.context.clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.answer, question(PieceKind.CRLS))
        await signing.wait()
        with pytest.raises(Overloaded):
            await answers.answer(question(PieceKind.CRLS))
        going_on.set()
    assert await answers.answer(question(PieceKind.CRLS))


async def test_a_listing_too_large_for_a_piece_is_an_error(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_answers, "MOST_BODY_OCTETS", 10)
    with pytest.raises(StoreError, match="larger"):
        await source.ask(PieceKind.CRLS)


async def test_statements_say_whose_feed_it_is_and_when(source: FeedSource) -> None:
    statement, body = await source.ask(PieceKind.CRLS)
    assert isinstance(statement, Statement)
    assert statement.feed == source.context.authority.ca.key_identifier.hex()
    assert statement.mark == (await source.ask(PieceKind.HEAD))[0].mark
    assert statement.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.cps("4.5.1")
async def test_nothing_is_signed_that_is_not_in_the_journal(source: FeedSource) -> None:
    context = source.context
    journal = DigestJournal(FEED, context.home.checkpoints, context.store, context.clock, context.actor)
    signed: list[bytes] = []

    async def noted(message: bytes) -> bytes:
        (path,) = (context.home.checkpoints / "feed").glob("*.digests")
        assert path.read_text().splitlines()[len(signed)] == hashlib.sha256(message).hexdigest()
        signed.append(message)
        return await sign(message)

    source.answers = FeedAnswers(context, journalled(noted, journal), context.clock)
    await source.ask(PieceKind.CRLS)
    await source.ask(PieceKind.HEAD)
    assert len(signed) == 2
    journal.can_sign = False
    with pytest.raises(StoreError):
        await source.ask(PieceKind.HEAD)
    assert len(signed) == 2
    journal.can_sign = True
    await journal.close()
