"""The feed over HTTP: `GET /feed/v1/<kind>` with a question as its query; the answer is a piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from engine.errors import FeedUnavailable, InputRejected
from engine.feed.question import MOST_WAIT_SECONDS, question_from
from responders.feed_exchange import Outcome
from responders.web_connection import WebConnection

ROUTE = "/feed/v1/<kind>"

MOST_REQUESTS = 64
"""In hand at once; more are refused. A guess: as many as the publisher takes."""

ANSWER_SECONDS = 30.0
"""How long a question may take beside the time it wants to wait. A guess: many times what a piece takes."""

RETRY_AFTER_SECONDS = 1
"""What is said to those who are refused because there is too much to do, or nobody who signs. A guess."""

Ask = Callable[[bytes], Awaitable[tuple[Outcome, bytes]]]
"""Asks the process that signs; raises FeedUnavailable."""


def make_app(ask: Ask, stop: trio.Event) -> QuartTrio:
    """Make the application.

    Args:
        ask: asks the process that signs.
        stop: set when this process is to stop: who waits for something new is told to ask again.
    """
    app = QuartTrio(__name__, static_folder=None)
    app.asgi_http_class = WebConnection
    app.config["RESPONSE_TIMEOUT"] = app.config["BODY_TIMEOUT"] = MOST_WAIT_SECONDS + ANSWER_SECONDS
    app.config["MAX_CONTENT_LENGTH"] = 0
    in_hand = trio.CapacityLimiter(MOST_REQUESTS)

    @app.route(ROUTE, methods=["GET"], provide_automatic_options=False)
    async def piece(kind: str) -> Response:
        try:
            question = question_from(orjson.dumps({**_query(), "kind": kind}))
        except InputRejected as error:
            return _refusal(Outcome.MALFORMED, str(error))
        try:
            in_hand.acquire_nowait()
        except trio.WouldBlock:
            return _refusal(Outcome.UNAVAILABLE, "too many readers of the feed")
        try:
            return await _answered(ask, stop, question.octets(), question.wait + ANSWER_SECONDS)
        finally:
            in_hand.release()

    @app.errorhandler(HTTPException)
    async def wrong(error: HTTPException) -> Response:
        return _refusal(error.code or 500, error.name)

    return app


def _query() -> dict[str, str]:
    """The query of the request.

    Raises:
        InputRejected: a name stands in it twice.
    """
    found: dict[str, str] = {}
    for name, value in request.args.items(multi=True):
        if name in found or name == "kind":
            raise InputRejected("this is no question to the feed", place=name, rule="each name once")
        found[name] = value
    return found


async def _answered(ask: Ask, stop: trio.Event, question: bytes, patience: float) -> Response:
    answer = _refusal(Outcome.UNAVAILABLE, "the feed is not served at present")
    with trio.move_on_after(patience):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_set, stop, nursery.cancel_scope)
            try:
                outcome, content = await ask(question)
            except FeedUnavailable:
                pass  # as `answer` says
            else:
                answer = _response(outcome, content)
            nursery.cancel_scope.cancel()
    return answer


async def _cancel_when_set(stop: trio.Event, asking: trio.CancelScope) -> None:
    await stop.wait()
    asking.cancel()


def _response(outcome: Outcome, content: bytes) -> Response:
    if outcome is not Outcome.PIECE:
        return _refusal(outcome, content.decode())
    kept = {"Cache-Control": "no-store"}
    return Response(content, 200, kept, content_type="application/octet-stream")


def _refusal(status: int, why: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status == Outcome.UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Response(orjson.dumps({"error": why}), status, headers, content_type="application/json")
