"""A responder with scripted answers, and a clock that is set: what HTTP does with answers is tested apart from OCSP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import trio

from engine.clock import SetClock
from responders.http_times import whole_seconds
from responders.ocsp_answer import Caching, OcspAnswer
from responders.ocsp_http import OcspHttp

NOW = int(datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp())
PATH = b"/cgi-bin/OCSP2/ocsp_server.exe"
CACHING = Caching(NOW - 3600, NOW + 3600, b"0123456789abcdef")
LIVE = b"\x30\x04live"
"""A request that only the live signer can answer."""


def echo(request: bytes) -> OcspAnswer:
    """An answer that shows what was asked, and may be cached."""
    return OcspAnswer(b"answer to " + request, CACHING)


class ScriptedResponder:
    """Answers with a function; `LIVE` waits until the test lets it go.

    Args:
        answer: from the request to its answer.
    """

    def __init__(self, answer: Callable[[bytes], OcspAnswer] = echo) -> None:
        self._answer = answer
        self.asked: list[bytes] = []
        self.waiting = trio.Event()
        self.let_go = trio.Event()

    def at_once(self, request: bytes) -> OcspAnswer | None:
        if request.startswith(LIVE):
            return None
        self.asked.append(request)
        return self._answer(request)

    async def answer(self, request: bytes) -> OcspAnswer:
        self.waiting.set()
        await self.let_go.wait()
        return OcspAnswer(b"live answer to " + request, None)


def clock() -> SetClock:
    return SetClock(datetime.fromtimestamp(NOW, UTC))


def http_over(responder: ScriptedResponder, *, max_age: int = 300) -> OcspHttp:
    return OcspHttp(responder, whole_seconds(clock()), max_age=max_age, path=PATH)
