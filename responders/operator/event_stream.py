"""The state as server-sent events (HTML, section 9.2): first what the charts have, then every new look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import orjson
import trio
from quart import Response

from engine.errors import Overloaded
from responders.operator.ring import COLUMNS
from responders.operator.watch import Watch

MOST_STREAMS = 32
"""At the same time; more are refused. A guess: some operators with some windows each."""

CONTENT_TYPE = "text/event-stream"


class EventStreams:
    """Makes streams, and ends them all when the process stops.

    Args:
        watch: what is told.
        stop: set when the process is to stop.
    """

    def __init__(self, watch: Watch, stop: trio.Event) -> None:
        self._watch, self._stop = watch, stop
        self._open = 0

    def response(self, may_watch: Callable[[], bool]) -> Response:
        """Make the response that is a stream.

        Args:
            may_watch: asked before every event, for a session may end while it is watched.

        Raises:
            Overloaded: there are too many streams.
        """
        if self._open >= MOST_STREAMS:
            raise Overloaded("too many windows watch this page", rule=f"at most {MOST_STREAMS}")
        response = Response(self._events(may_watch), 200, content_type=CONTENT_TYPE)
        response.timeout = None  # it lasts for as long as somebody watches
        return response

    async def _events(self, may_watch: Callable[[], bool]) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            charts = {"columns": COLUMNS, "points": self._watch.ring.points()}
            yield event("charts", charts)
            while may_watch():
                if self._watch.state is not None:
                    yield event("state", {"state": self._watch.state, "point": self._watch.point})
                if await self._stopped_while_waiting():
                    return
        finally:
            self._open -= 1

    async def _stopped_while_waiting(self) -> bool:
        """Wait for the next look or the end of the process."""
        async with trio.open_nursery() as nursery:

            async def stopped() -> None:
                await self._stop.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(stopped)
            await self._watch.changed()
            nursery.cancel_scope.cancel()
        return self._stop.is_set()


def event(name: str, document: object) -> bytes:
    """Return an event whose data is one line of JSON."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"
