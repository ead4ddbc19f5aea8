"""The feed publisher behind its socket: bounds, refusals, and askers that go away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from engine.errors import FeedUnavailable, InputRejected, Overloaded, SignerUnavailable, StoreError
from engine.feed.piece import MOST_PIECE_OCTETS, PieceKind
from engine.feed.publisher_answers import FeedAnswers
from engine.feed.question import Question
from engine.feed.refusals import DigestUnknown, PositionUnknown
from engine.json_log import Log
from engine.pkcs11.session_pool import PoolExhausted, SessionPool
from engine.unix_sockets import connect_unix, listen_unix
from responders import feed_publisher
from responders.feed_exchange import MOST_QUESTION_OCTETS, Outcome, ask
from responders.feed_publisher import FeedPublisher
from tests.feed_source.source_home import question
from tests.status.test_crl_publisher import Lines

HEAD = question(PieceKind.HEAD).octets()
Answer = Callable[[Question], Awaitable[bytes]]


class StandInAnswers:
    """Answers as the test says."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class StandInPool:
    ended: Any = None


@asynccontextmanager
async def publisher(
    answer: Answer, directory: Path
) -> AsyncIterator[tuple[FeedPublisher, Path, Lines, StandInPool]]:
    """A publisher at work, and where."""
    path, log, pool = directory / "run" / "feed.socket", Lines(), StandInPool()
    made = FeedPublisher(
        cast("FeedAnswers", StandInAnswers(answer)), cast("SessionPool", pool), cast("Log", log)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, listen_unix(path, 8))
        yield made, path, log, pool
        made.stopping.set()


async def test_a_large_piece_comes_whole(tmp_path: Path) -> None:
    piece = bytes(MOST_PIECE_OCTETS)

    async def answer(asked: Question) -> bytes:
        assert asked.kind is PieceKind.HEAD
        return piece

    async with publisher(answer, tmp_path) as (_, path, _, _):
        assert await ask(path, HEAD) == (Outcome.PIECE, piece)


@pytest.mark.parametrize(
    ("error", "outcome", "is_told"),
    [
        (PositionUnknown("so"), Outcome.POSITION_UNKNOWN, False),
        (DigestUnknown("so"), Outcome.DIGEST_UNKNOWN, False),
        (InputRejected("so"), Outcome.MALFORMED, False),
        (Overloaded("so"), Outcome.UNAVAILABLE, False),
        (StoreError("a path of this host"), Outcome.UNAVAILABLE, True),
        (SignerUnavailable("a path of this host"), Outcome.UNAVAILABLE, True),
    ],
)
async def test_what_goes_wrong_is_said_and_what_is_ours_stays_here(
    tmp_path: Path, error: Exception, outcome: Outcome, is_told: bool
) -> None:
    async def answer(asked: Question) -> bytes:
        raise error

    async with publisher(answer, tmp_path) as (made, path, log, _):
        found, content = await ask(path, HEAD)
        assert found is outcome
        assert b"path" not in content
        assert log.events() == ["not-answered"] * is_told
        assert not made.stopping.is_set()


async def test_with_the_pool_the_process_ends(tmp_path: Path) -> None:
    async def answer(asked: Question) -> bytes:
        pool.ended = PoolExhausted("stuck")
        raise pool.ended

    async with publisher(answer, tmp_path) as (made, path, _, pool):
        with suppress(FeedUnavailable):  # it may be gone before it could say so
            assert (await ask(path, HEAD))[0] is Outcome.UNAVAILABLE
        await made.stopping.wait()
        assert made.ended is pool.ended


async def test_what_is_no_question_is_not_answered(tmp_path: Path) -> None:
    async def answer(asked: Question) -> bytes:
        raise AssertionError

    async with publisher(answer, tmp_path) as (_, path, _, _):
        assert (await ask(path, b"{}"))[0] is Outcome.MALFORMED
        for octets in (b"x" * (MOST_QUESTION_OCTETS + 1), b"x" * (2 * MOST_QUESTION_OCTETS) + b"\n"):
            with pytest.raises(FeedUnavailable):
                await ask(path, octets)


async def test_who_goes_away_is_not_waited_for(tmp_path: Path) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def answer(asked: Question) -> bytes:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with publisher(answer, tmp_path) as (_, path, _, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, path, HEAD)
            await begun.wait()
            nursery.cancel_scope.cancel()
        await ended.wait()


async def test_so_many_connections_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_publisher, "MOST_CONNECTIONS", 2)
    send, receive = trio.open_memory_channel[None](2)

    async def answer(asked: Question) -> bytes:
        await send.send(None)
        await trio.sleep_forever()
        raise AssertionError

    async with publisher(answer, tmp_path) as (_, path, _, _), trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(ask, path, HEAD)
            await receive.receive()
        assert (await ask(path, HEAD))[0] is Outcome.UNAVAILABLE
        nursery.cancel_scope.cancel()


async def test_a_piece_that_is_cut_off_is_no_piece(tmp_path: Path) -> None:
    path = tmp_path / "run" / "feed.socket"
    listener = listen_unix(path, 1)

    async def cut_off(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with await listener.accept() as stream:
            await stream.receive_some()
            await stream.send_all(b"\x00\xc8\x00\x00\x00\x09only")

    async with trio.open_nursery() as nursery:
        await nursery.start(cut_off)
        with pytest.raises(FeedUnavailable):
            await ask(path, HEAD)
    await listener.aclose()
    with pytest.raises(FeedUnavailable):
        await ask(path, HEAD)
    with pytest.raises(OSError, match="refused"):
        await connect_unix(path)
