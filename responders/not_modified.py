"""The answer of 304: what the client has is what there is."""

from __future__ import annotations

from collections.abc import AsyncIterator

from quart import Response


def not_modified(headers: dict[str, str]) -> Response:
    """Make a response that says: what you have is what there is."""
    response = Response(_nothing(), 304, headers)
    del response.headers["Content-Type"]
    return response


async def _nothing() -> AsyncIterator[bytes]:
    """No body, and no Content-Length of 0 either, which would be a lie in a 304 (RFC 9110 section 8.6)."""
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
