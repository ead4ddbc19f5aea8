"""The feed over HTTP: what is passed on, what is refused, and how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from quart import typing as quart_typing

from engine.errors import FeedUnavailable
from engine.feed.piece import PieceKind
from engine.feed.question import Question, question_from
from responders.feed_exchange import Outcome
from responders.feed_front import app as front
from responders.feed_front.app import make_app

CHALLENGE = "0123456789abcdef" * 2
Answer = Callable[[Question], Awaitable[tuple[Outcome, bytes]]]


def client(answer: Answer, stop: trio.Event | None = None) -> quart_typing.TestClientProtocol:
    async def ask(octets: bytes) -> tuple[Outcome, bytes]:
        return await answer(question_from(octets))

    return make_app(ask, trio.Event() if stop is None else stop).test_client()


async def nobody(question: Question) -> tuple[Outcome, bytes]:
    raise AssertionError("this was not to be passed on")


async def test_a_question_is_passed_on_and_its_piece_comes_back() -> None:
    asked: list[Question] = []

    async def answer(question: Question) -> tuple[Outcome, bytes]:
        asked.append(question)
        return Outcome.PIECE, b"the piece"

    response = await client(answer).get(
        f"/feed/v1/status?challenge={CHALLENGE}&after=17&mark={'a' * 32}&wait=3"
    )
    assert (response.status_code, await response.get_data(as_text=False)) == (200, b"the piece")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Cache-Control"] == "no-store"
    expected = Question(kind=PieceKind.STATUS, challenge=CHALLENGE, after=17, mark="a" * 32, wait=3)
    assert asked == [expected]


@pytest.mark.parametrize(
    "target",
    [
        "status",
        "status?challenge=12",
        f"nothing?challenge={CHALLENGE}",
        f"status?challenge={CHALLENGE}&challenge={CHALLENGE}",
        f"status?challenge={CHALLENGE}&kind=head",
        f"status?challenge={CHALLENGE}&more=1",
        f"status?challenge={CHALLENGE}&after=-1",
        f"status?challenge={CHALLENGE}&after={1 << 63}",
        f"status?challenge={CHALLENGE}&wait=61",
        f"status?challenge={CHALLENGE}&digest={'0' * 64}",
        f"crl?challenge={CHALLENGE}",
        f"crl?challenge={CHALLENGE}&digest=%00%ff",
    ],
)
async def test_what_is_no_question_goes_no_further(target: str) -> None:
    response = await client(nobody).get(f"/feed/v1/{target}")
    assert response.status_code == 400
    assert set(await response.get_json()) == {"error"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/feed/v1/head", 405),
        ("OPTIONS", "/feed/v1/head", 405),
        ("GET", "/", 404),
        ("GET", "/feed/v1/a/b", 404),
    ],
)
async def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    asking = client(nobody)
    methods = {"GET": asking.get, "POST": asking.post, "OPTIONS": asking.options}
    response = await methods[method](path)
    assert response.status_code == status
    assert set(await response.get_json()) == {"error"}


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PIECE])
async def test_a_refusal_says_why(outcome: Outcome) -> None:
    async def answer(question: Question) -> tuple[Outcome, bytes]:
        return outcome, b"because"

    response = await client(answer).get(f"/feed/v1/head?challenge={CHALLENGE}")
    assert (response.status_code, await response.get_json()) == (outcome, {"error": "because"})
    assert ("Retry-After" in response.headers) == (outcome is Outcome.UNAVAILABLE)


async def test_without_the_publisher_it_is_try_again() -> None:
    async def answer(question: Question) -> tuple[Outcome, bytes]:
        raise FeedUnavailable("away")

    response = await client(answer).get(f"/feed/v1/head?challenge={CHALLENGE}")
    assert (response.status_code, "Retry-After" in response.headers) == (503, True)


async def test_so_many_requests_are_in_hand_and_no_more(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_REQUESTS", 1)
    begun, stop = trio.Event(), trio.Event()

    async def answer(question: Question) -> tuple[Outcome, bytes]:
        begun.set()
        await trio.sleep_forever()
        raise AssertionError

    asking = client(answer, stop)
    told: list[int] = []

    async def wait() -> None:
        told.append((await asking.get(f"/feed/v1/head?challenge={CHALLENGE}&wait=60")).status_code)

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        await begun.wait()
        refused = await asking.get(f"/feed/v1/head?challenge={CHALLENGE}")
        assert (refused.status_code, told) == (503, [])
        stop.set()  # the process is to stop: whoever waits asks again, and meets its successor
    assert told == [503]
