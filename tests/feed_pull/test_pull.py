"""Pulling once and following: what one lane meets stops no other, and nothing stops the following."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import trio

from engine.config import PublicConfiguration
from engine.errors import FeedRejected, FeedUnavailable, SealmintError
from engine.feed import pull
from engine.feed.piece import PieceKind
from engine.feed.pull import Puller, copies_of
from engine.feed.question import Question
from engine.home import Home
from engine.status.crl_files import file_of
from engine.status.status_store import Freshness, StatusReader
from engine.store.schema import CertificateState
from tests.cli.prepared_home import SAFETY_NET
from tests.feed_pull.toy_feed import COMPLETE_URI, START, ToyFeed, record, reply, serial_of, toy, trust
from tests.judges.toy_crl import crl

SEED = 20261123
WAIT = 20
REVOKED = CertificateState.REVOKED
LANES = ["status", "crls", "certificates", "publications", "accounts"]


@pytest.fixture
def feed(feed: ToyFeed) -> ToyFeed:
    feed.put((1, record(1)))
    feed.accept(1)
    feed.publish(COMPLETE_URI, 1, crl(toy().ca, {}, number=1))
    feed.publish_content(1, b"news")
    return feed


def configuration(directory: Path) -> PublicConfiguration:
    return PublicConfiguration.model_validate(
        {
            "role": "public",
            "ocsp": {"status_store": str(directory / "status-store")},
            "crl": {"directory": str(directory / "crl")},
            "repository": {"directory": str(directory / "repository")},
            "metering": {"accounts": str(directory / "usage" / "accounts.json")},
        }
    )


@asynccontextmanager
async def pulling(feed: ToyFeed, directory: Path) -> AsyncIterator[Puller]:
    async with feed.client() as client:
        copies = copies_of(client, Home(directory), configuration(directory), trust(), feed.clock)
        copies.open()
        try:
            yield Puller(client, copies, random.Random(SEED))
        finally:
            copies.close()


def state(directory: Path) -> CertificateState | None:
    with StatusReader(directory / "status-store") as store:
        found = store.standing(0, serial_of(1))
        return found and found.state


async def test_once_brings_every_copy_up(feed: ToyFeed, tmp_path: Path) -> None:
    async with pulling(feed, tmp_path) as puller:
        assert await puller.pull_once() == dict.fromkeys(LANES)
    assert state(tmp_path) is CertificateState.GOOD
    for name in ("crl/crl/complete.crl", "repository/certificates.sqlite", "usage/accounts.json"):
        assert (tmp_path / name).is_file()


async def test_what_one_lane_meets_stops_no_other(feed: ToyFeed, tmp_path: Path) -> None:
    feed.publish(COMPLETE_URI, 2, crl(toy().impostor, {}, number=2))
    feed.refuse = lambda question: reply(503, b"{}") if question.kind is PieceKind.ACCOUNTS else None
    async with pulling(feed, tmp_path) as puller:
        outcome = await puller.pull_once()
    assert [name for name, error in outcome.items() if isinstance(error, FeedRejected)] == ["crls"]
    assert [name for name, error in outcome.items() if isinstance(error, FeedUnavailable)] == ["accounts"]
    assert list(outcome) == LANES
    assert state(tmp_path) is CertificateState.GOOD


class Followed:
    """`follow` in a nursery, with its log and what it said when it had caught up."""

    def __init__(self, puller: Puller) -> None:
        self.puller = puller
        self.log: list[dict[str, Any]] = []
        self.caught_up: list[dict[str, SealmintError | None]] = []
        self.was = trio.Event()

    def note(self, outcome: dict[str, SealmintError | None]) -> None:
        self.caught_up.append(outcome)
        self.was.set()

    @property
    def progress(self) -> Freshness:
        """How far the status has come; asked of its one writer, for LMDB opens a store but once in a process."""
        return self.puller.copies.status.position.progress

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other sooner than between two hosts."""
    monkeypatch.setattr(pull, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(pull, "LONGEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pull, "REJECTED_SECONDS", 0.01)


@asynccontextmanager
async def following(feed: ToyFeed, directory: Path) -> AsyncIterator[Followed]:
    def keep(logger: object, name: str, line: Any) -> Any:
        followed.log.append(dict(line))
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep])
    async with pulling(feed, directory) as puller, trio.open_nursery() as nursery:
        followed = Followed(puller)
        nursery.start_soon(puller.follow, log, WAIT, followed.note)
        yield followed
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again until something is so: threads work on it, of which trio knows nothing."""
    with trio.fail_after(SAFETY_NET):
        while not condition():  # noqa: ASYNC110 - there is no event: a thread writes into LMDB
            await trio.sleep(0.002)


async def test_a_change_comes_as_soon_as_the_head_says_so(feed: ToyFeed, tmp_path: Path) -> None:
    async with following(feed, tmp_path) as followed:
        await followed.was.wait()
        feed.put((1, record(1, 2, REVOKED)))
        feed.tell_news()
        await until(lambda: followed.progress.sequence == feed.sequence)
        assert followed.caught_up == [dict.fromkeys(LANES)]
        assert followed.log == []
    assert state(tmp_path) is REVOKED
    waits = [question.wait for question in feed.questions(PieceKind.HEAD)]
    assert (waits[0], set(waits[1:])) == (0, {WAIT})


@pytest.mark.cps("2.6.3")
async def test_a_rejected_list_is_told_tried_again_and_stops_no_status(feed: ToyFeed, tmp_path: Path) -> None:
    feed.publish(COMPLETE_URI, 2, crl(toy().impostor, {}, number=2))
    async with following(feed, tmp_path) as followed:
        await followed.was.wait()
        (outcome,) = followed.caught_up
        assert [name for name, error in outcome.items() if error is not None] == ["crls"]
        await until(lambda: len(followed.events("rejected")) > 2)
        told = followed.events("rejected")[0]
        assert (told["lane"], told["place"], told["error"]) == ("crls", COMPLETE_URI, "FeedRejected")
        feed.put((1, record(1, 2, REVOKED)))
        feed.publish(COMPLETE_URI, 2, crl(toy().ca, {}, number=2))
        feed.tell_news()
        await until(lambda: followed.progress.sequence == feed.sequence)
        await until(lambda: bool(followed.events("works-again")))
        assert file_of(tmp_path / "crl", COMPLETE_URI).read_bytes() == feed.crls[COMPLETE_URI][1]


async def test_a_feed_that_is_away_is_asked_again_until_it_is_there(feed: ToyFeed, tmp_path: Path) -> None:
    def away(question: Question) -> httpx.Response | None:
        raise httpx.ConnectError("connection refused")

    feed.refuse = away
    async with following(feed, tmp_path) as followed:
        await until(lambda: len(followed.events("unavailable")) > 3)
        assert followed.caught_up == []
        feed.refuse = lambda question: None
        await followed.was.wait()
        feed.refuse = away
        feed.put((1, record(1, 2, REVOKED)))
        feed.tell_news()
        count = len(followed.events("unavailable"))
        await until(lambda: len(followed.events("unavailable")) > count + 2)
        assert followed.progress.sequence == feed.sequence - 1
        feed.refuse = lambda question: None
        await until(lambda: followed.progress.sequence == feed.sequence)


async def test_nothing_newer_keeps_the_copy_alive(
    feed: ToyFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(question: Question) -> httpx.Response | None:
        if question.wait:
            feed.clock.move(timedelta(seconds=WAIT))
        return None

    feed.refuse = short
    monkeypatch.setattr(feed, "_wait_for_news", _no_wait)
    async with following(feed, tmp_path) as followed:
        await followed.was.wait()
        await until(lambda: followed.progress.written_at >= START + 5 * WAIT)
        assert followed.log == []
        assert len(feed.questions(PieceKind.STATUS)) == 1


async def _no_wait(question: Question) -> None:
    await trio.lowlevel.checkpoint()


def test_pauses_double_up_to_a_bound_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # as they are
    chance = random.Random(SEED)
    pause = pull.Pause(chance)
    away = FeedUnavailable("away")
    pauses = [pause.after(away) for _ in range(10)]
    most = [min(pull.FIRST_PAUSE_SECONDS * 2**n, pull.LONGEST_PAUSE_SECONDS) for n in range(10)]
    assert all(bound / 2 <= one <= bound for one, bound in zip(pauses, most, strict=True))
    assert pause.after(FeedRejected("wrong")) >= pull.REJECTED_SECONDS / 2
    pause.over()
    assert pause.after(away) <= pull.FIRST_PAUSE_SECONDS
    assert pull.Pause(random.Random(SEED + 1)).after(away) != pauses[0]
