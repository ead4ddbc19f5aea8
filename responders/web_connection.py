"""The end of an HTTP exchange on hypercorn, put right for Quart on trio.

After the last octet of a response hypercorn tells the application that the exchange is over, from within the very call
that sends that octet. quart-trio cancels its tasks on that word, the sending one among them, which has yet to close the
connection or to begin its idle time. So a client that reads until the connection ends (`Connection: close`, HTTP/1.0)
waited for ever, and idle connections were kept for ever.
"""

from __future__ import annotations

from typing import cast

import trio
from hypercorn.typing import ASGISendCallable, ASGISendEvent
from quart.typing import ResponseTypes
from quart_trio.asgi import TrioASGIHTTPConnection


class WebConnection(TrioASGIHTTPConnection):
    """An exchange whose last message is sent to its end, whoever cancels."""

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        async def send_whole(message: ASGISendEvent) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            with trio.CancelScope(shield=last):
                await send(message)

        await super()._send_response(cast("ASGISendCallable", send_whole), response)
