"""A client that sends octets as they are and takes whatever comes back, over TCP or TLS."""

from __future__ import annotations

import contextlib
import math
import re
import ssl
from dataclasses import dataclass

import trio

from tests.fuzz.raw_requests import Sent

QUIET_SECONDS = 0.4
"""After so long without an octet a server is taken to wait for the rest of a hostile request: then the connection is
ended. It decides nothing: an answer that would have come later is not looked at."""

SAFETY_NET = 120.0
"""Seconds after which a server that neither answers nor ends a connection that its client has ended hangs: above all
limits of the fronts (a feed's question may take 90)."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_HEAD = re.compile(rb"HTTP/1\.[01] (\d\d\d) ?[^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"^content-length: (\d+)\r?$", re.IGNORECASE | re.MULTILINE)
_PIECE = 65_536
_BODILESS = (b"304", b"204")


@dataclass(frozen=True)
class Place:
    """Where to connect.

    Attributes:
        address: host and port.
        tls: where it is TLS.
        greeting: sent first on every connection: what a proxy says of its client.
    """

    address: tuple[str, int]
    tls: ssl.SSLContext | None = None
    greeting: bytes = b""


class Connection:
    """A connection, for as long as the server leaves it open.

    Args:
        place: where to.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stream: Stream | None = None

    async def exchange(self, sent: Sent) -> bytes:
        """Send, and return everything that came back; the connection is kept where all of it was answered.

        Raises:
            trio.TooSlowError: the server hangs.
        """
        with trio.fail_after(SAFETY_NET):
            is_kept = self._stream is not None
            told = await self._exchange(sent)
            if is_kept and not told:  # the server had ended its idle time
                told = await self._exchange(sent)
        return told

    async def _exchange(self, sent: Sent) -> bytes:
        stream, self._stream = self._stream or await self._connect(), None
        told = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, stream, sent.octets)
            is_open = await _take(stream, sent, told)
            nursery.cancel_scope.cancel()
        if is_open and sent.is_good and len(answers_in(told)) == 1:
            self._stream = stream
        else:
            await _end(stream, told, is_open)
        return bytes(told)

    async def close(self) -> None:
        """End it."""
        if self._stream is not None:
            await _end(self._stream, bytearray(), True)

    async def _connect(self) -> Stream:
        plain = await trio.open_tcp_stream(*self._place.address)
        if self._place.greeting:
            await plain.send_all(self._place.greeting)
        if self._place.tls is None:
            return plain
        stream = trio.SSLStream(plain, self._place.tls, server_hostname="feed")
        await stream.do_handshake()
        return stream


async def _send(stream: Stream, octets: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(octets)  # refused before it had been taken whole


async def _take(stream: Stream, sent: Sent, told: bytearray) -> bool:
    """Read until all requests are answered, or nothing comes any more; return whether it goes on."""
    while sent.requests > whole_answers(told):
        with trio.move_on_after(math.inf if sent.is_good else QUIET_SECONDS) as quiet:
            try:
                part = await stream.receive_some(_PIECE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            if not part:
                return False
            told += part
        if quiet.cancelled_caught:
            return True
    return True


async def _end(stream: Stream, told: bytearray, is_open: bool) -> None:
    """End our side, and read what the server still says until it ends its side: that it does, is looked at here."""
    try:
        if is_open and isinstance(stream, trio.SocketStream):
            await stream.send_eof()
            while part := await stream.receive_some(_PIECE):
                told += part
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


def answers_in(told: bytes | bytearray) -> list[tuple[int, bytes]]:
    """The status and header section of every answer; a body never has anything that looks like one."""
    return [(int(found[1]), found[2]) for found in _HEAD.finditer(told)]


def whole_answers(told: bytes | bytearray) -> int:
    """How many answers have come, the last of them to its end."""
    found = list(_HEAD.finditer(told))
    final = [one for one in found if not one[1].startswith(b"1")]
    if not final or final[-1] is not found[-1]:
        return len(final)
    length = _LENGTH.search(final[-1][2] + b"\r\n")
    is_whole = final[-1][1] in _BODILESS or (
        length is not None and len(told) - final[-1].end() >= int(length[1])
    )
    return len(final) - (not is_whole)
