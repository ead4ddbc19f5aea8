"""Asking for the feed: what is an answer, what is none, and what is worth asking again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import trio.testing

from engine.errors import ConfigurationInvalid, FeedRejected, FeedUnavailable
from engine.feed.feed_client import PIECE_SECONDS, Answer, FeedClient, take_pieces
from engine.feed.feed_url import checked_url
from engine.feed.piece import MOST_PIECE_OCTETS, PieceKind
from engine.feed.question import Question
from tests.feed_pull.toy_feed import PAGE, ToyFeed, record, reply


async def test_no_two_questions_have_the_same_challenge(feed: ToyFeed) -> None:
    async with feed.client() as client:
        for _ in range(20):
            await client.ask(PieceKind.HEAD)
    challenges = {question.challenge for question in feed.asked}
    assert len(challenges) == 20
    assert {len(challenge) for challenge in challenges} == {32}


async def test_a_question_says_what_is_wanted(feed: ToyFeed) -> None:
    async with feed.client() as client:
        await client.ask(PieceKind.HEAD, known="ab" * 32, wait=7)
    (asked,) = feed.asked
    assert (asked.known, asked.wait, asked.after, asked.mark) == ("ab" * 32, 7, 0, "")


class Stream(httpx.AsyncByteStream):
    """A body that comes part by part, and breaks off or never ends."""

    def __init__(self, *parts: bytes, endless: bool = False) -> None:
        self.parts = list(parts)
        self.endless = endless
        self.sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.parts and not self.endless:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        part = self.parts.pop(0) if self.parts else bytes(65_536)
        self.sent += len(part)
        return part


async def ask(feed: ToyFeed, refusal: Callable[[Question], httpx.Response | None]) -> None:
    feed.refuse = refusal
    async with feed.client() as client:
        await client.ask(PieceKind.HEAD)


@pytest.mark.parametrize("status", [400, 409])
async def test_what_asking_again_does_not_help_with_is_rejected(feed: ToyFeed, status: int) -> None:
    with pytest.raises(FeedRejected) as raised:
        await ask(feed, lambda question: reply(status, b'{"error": "that is why"}'))
    assert (raised.value.value, raised.value.rule) == (status, "that is why")


@pytest.mark.parametrize("status", [204, 301, 302, 401, 403, 404, 429, 500, 502, 503])
async def test_any_other_status_is_worth_asking_again(feed: ToyFeed, status: int) -> None:
    with pytest.raises(FeedUnavailable) as raised:
        await ask(feed, lambda question: reply(status, b"<html>"))
    assert raised.value.value == status


async def test_a_connection_that_is_cut_in_the_middle_is_worth_asking_again(feed: ToyFeed) -> None:
    with pytest.raises(FeedUnavailable, match="RemoteProtocolError"):
        await ask(feed, lambda question: httpx.Response(200, stream=Stream(b"{")))


# httpx leaves the generators of a response that is not read to its end to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object")
async def test_an_answer_without_end_is_cut_off(feed: ToyFeed) -> None:
    stream = Stream(endless=True)
    with pytest.raises(FeedRejected, match="too long"):
        await ask(feed, lambda question: httpx.Response(200, stream=stream))
    assert stream.sent <= MOST_PIECE_OCTETS + 65_536


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(
    feed: ToyFeed, autojump_clock: trio.testing.MockClock
) -> None:
    class Silence(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await trio.sleep_forever()

    with pytest.raises(FeedUnavailable, match="TooSlowError"):
        await ask(feed, lambda question: httpx.Response(200, stream=Silence()))
    assert trio.current_time() == PIECE_SECONDS


@pytest.mark.parametrize("url", ["http://ca:1", "https://", "ca:1", "https://ca/path", "https://u@ca", ""])
def test_only_https_without_a_path_is_the_url_of_a_feed(url: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        checked_url(url)
    assert checked_url("https://[2001:db8::1]:8443/") == "https://[2001:db8::1]:8443"


class ComesAsTheLastIsRefused:
    """Asks for pieces; each after the first comes in the steps in which the first is refused.

    Args:
        client: who is asked.
        steps: of the event loop, from the refusal on.
    """

    def __init__(self, client: FeedClient, steps: int) -> None:
        self._client = client
        self._steps = steps
        self._asked = 0
        self._refused = False

    async def ask(
        self,
        kind: PieceKind,
        *,
        after: int = 0,
        mark: str = "",
        digest: str = "",
        known: str = "",
        wait: int = 0,
    ) -> Answer:
        answer = await self._client.ask(kind, after=after, mark=mark, digest=digest, known=known, wait=wait)
        self._asked += 1
        while self._asked > 1 and not self._refused:
            await trio.lowlevel.checkpoint()
        for _ in range(self._steps if self._asked > 1 else 0):
            await trio.lowlevel.checkpoint()
        return answer

    def refuse(self, answer: Answer) -> None:
        self._refused = True
        raise FeedRejected("not this one", place="card", value="1")


async def test_a_piece_comes_while_the_one_before_is_refused(feed: ToyFeed) -> None:
    for card in range(1, 2 * PAGE):
        feed.put((card, record(card)))
    async with feed.client() as client:
        for steps in [*range(4)] * 50:  # in which step the channel is closed is the scheduler's choice
            asking = ComesAsTheLastIsRefused(client, steps)
            with pytest.raises(FeedRejected, match="not this one"):
                await take_pieces(asking, PieceKind.STATUS_SNAPSHOT, 0, "", asking.refuse)
