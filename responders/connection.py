"""One connection of the fast OCSP listener: HTTP/1.1 by httptools, answers in the order of the requests.

Thin on purpose: with a whole request in one segment, which is nearly always so, it is one `recv`, one feed of the
parser, one answer and one `send`. A connection has no timers: it says in which phase it is and since when, and the
listener's sweeper tells it when that has lasted too long.

Bounds: a segment is at most `SEGMENT_OCTETS`, and what came in one is answered before the next is read, so pipelining
holds no more than a segment's requests and `ANSWERS_IN_ONE_SEND` answers. A request that does not fit one segment may
grow to `HEADER_OCTETS` without the end of its header section, then by `BODY_OCTETS` of body.
"""

from __future__ import annotations

import contextlib
import re
import socket
from enum import IntEnum
from http import HTTPStatus
from types import MappingProxyType

import httptools
import trio

from responders.ocsp_http import HttpAnswer, OcspHttp
from responders.ocsp_request import MAX_REQUEST_OCTETS

SEGMENT_OCTETS = HEADER_OCTETS = 8_192
"""A guess: what web servers commonly allow for a header section; a request of one certificate has 200 to 400."""

BODY_OCTETS = MAX_REQUEST_OCTETS
ANSWERS_IN_ONE_SEND = 16
"""A guess: some 30 KB, which a socket's buffer takes."""

_STATUS_LINES = MappingProxyType(
    {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
)
_CLOSE = b"Connection: close\r\n\r\n"
_KEEP = b"Connection: keep-alive\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UPGRADE = re.compile(rb"(\r?\n)(?=upgrade[ \t]*:)", re.IGNORECASE)
_NOTED = frozenset({4, 6, 10, 13})
"""Lengths of the field names that matter here: no other name need be looked at."""


class Phase(IntEnum):
    """What a connection waits for; the sweeper has a time limit for each."""

    IDLE = 0  # a request
    ARRIVING = 1  # the rest of a request
    ANSWERING = 2  # the live signer, which has a limit of its own
    SENDING = 3  # a client that does not take its answer
    LEAVING = 4  # the client's end of a connection that we have ended


class Pulse:
    """What all connections of a process look at: the time of the last sweep, and whether the process is leaving."""

    __slots__ = ("leaving", "now")

    def __init__(self) -> None:
        self.now = trio.current_time()
        self.leaving = False


_Request = tuple[bytes, bytes, bytes, bytes | None, bool, bool]
"""Method, target, body, If-None-Match; whether the connection may be used again (RFC 9112 section 9.3); whether there
was a Connection field, for an HTTP/1.0 client wants to read that it was heard."""


class Connection:
    """One client.

    Args:
        sock: its socket, non-blocking; closed by `serve`.
        http: answers requests.
        pulse: shared by all connections of the process.
    """

    __slots__ = (
        "_body",
        "_connection_named",
        "_continue",
        "_descriptor",
        "_hosts",
        "_http",
        "_if_none_match",
        "_in_header",
        "_parser",
        "_pulse",
        "_received",
        "_requests",
        "_socket",
        "_target",
        "phase",
        "since",
    )

    def __init__(self, sock: socket.socket, http: OcspHttp, pulse: Pulse) -> None:
        self._socket = sock
        self._descriptor = sock.fileno()
        self._http = http
        self._pulse = pulse
        self._parser = httptools.HttpRequestParser(self)
        self._requests: list[_Request] = []
        self._received = 0  # octets of a request that came in more than one segment
        self.phase = Phase.IDLE
        self.since = pulse.now
        self._forget()

    def _forget(self) -> None:
        """Begin a request."""
        self._target = self._body = b""
        self._if_none_match: bytes | None = None
        self._hosts = 0
        self._connection_named = self._continue = False
        self._in_header = True

    # What httptools calls.

    def on_url(self, part: bytes) -> None:
        """Take the request target, or a part of it."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the few fields that matter; framing is the parser's business."""
        if len(name) not in _NOTED or not self._in_header:  # a trailer says nothing of these
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"connection":
            self._connection_named = True
        elif name == b"if-none-match":
            self._if_none_match = value if self._if_none_match is None else self._if_none_match + b"," + value
        elif name == b"expect":
            self._continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Note that the header section has ended."""
        self._in_header = False

    def on_body(self, part: bytes) -> None:
        """Take the body, or a part of it; chunks are put together."""
        self._body += part
        if len(self._body) > BODY_OCTETS:
            raise _Refused(413)

    def on_message_complete(self) -> None:
        """Put the request with those to be answered."""
        parser = self._parser
        if self._hosts != 1 and (self._hosts or parser.get_http_version() != "1.0"):
            raise _Refused(400)  # RFC 9112 section 3.2
        self._requests.append(
            (
                parser.get_method(),
                self._target,
                self._body,
                self._if_none_match,
                parser.should_keep_alive(),
                self._connection_named,
            )
        )
        self._forget()

    async def serve(self) -> None:
        """Answer requests until either side ends the connection. Cancelled, it closes without another word."""
        descriptor, receive = self._descriptor, self._socket.recv
        try:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                try:
                    data = receive(SEGMENT_OCTETS)
                except BlockingIOError:
                    continue
                if not data:
                    return
                if self.phase is not Phase.LEAVING:  # then what comes is not heard any more
                    await self._take(data)
        except OSError:
            return  # the client has gone; there is nobody to tell
        finally:
            self._socket.close()

    def expire(self) -> None:
        """End a phase that has lasted too long; the connection's task notices by itself."""
        with contextlib.suppress(OSError):  # gone already
            if self.phase is Phase.ARRIVING:
                self._socket.send(in_octets(self._http.refusal(408), stays=False))
            if self.phase in (Phase.ARRIVING, Phase.IDLE):
                self._leave()
            else:
                self._socket.shutdown(socket.SHUT_RDWR)

    async def _take(self, data: bytes) -> None:
        """Read a segment and answer the requests that it completes."""
        refused = self._feed(data)
        completed = self._requests
        if completed:
            self._requests = []
            self._received = 0
            if not await self._answer(completed):
                self._leave()
                return
        else:
            self._received += len(data)
        if not refused and (self._target or not self._in_header):
            refused = await self._expect_more(began=bool(completed))
        elif completed:
            self.phase = Phase.IDLE
            self.since = self._pulse.now
        if refused:
            await self._send(in_octets(self._http.refusal(refused), stays=False))
            self._leave()

    def _feed(self, data: bytes) -> int:
        """Feed the parser; return the HTTP status with which what is no request is refused, or 0."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return self._feed_without_upgrade(data)
        except httptools.HttpParserError as error:
            refused = error.__context__
            return refused.status if isinstance(refused, _Refused) else 400
        return 0

    def _feed_without_upgrade(self, data: bytes) -> int:
        """Read a request again whose wish for another protocol is not heard (RFC 9110 section 7.8).

        The parser takes the body for that protocol's. A client that offers h2c with each request sends this.
        """
        upgrading = self._requests.pop()
        if upgrading[0] == b"CONNECT":
            return 405
        if self._requests or self._received:
            return 501
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(_UPGRADE.sub(rb"\1not-", data))
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            return 400
        return 0

    async def _expect_more(self, *, began: bool) -> int:
        """Wait for the rest of a request, within bounds; return the HTTP status that refuses it, or 0."""
        if began or self.phase is not Phase.ARRIVING:
            self.phase = Phase.ARRIVING
            self.since = self._pulse.now
        if self._in_header:
            return 431 if self._received >= HEADER_OCTETS else 0
        if (
            self._received > HEADER_OCTETS + 2 * BODY_OCTETS
        ):  # chunks may be small, but not their framing large
            return 413
        if self._continue and self._parser.get_http_version() != "1.0":
            await self._send(_CONTINUE)
        self._continue = False
        return 0

    async def _answer(self, requests: list[_Request]) -> bool:
        """Answer requests in their order; return whether the connection stays."""
        http, pulse, out, last = self._http, self._pulse, list[bytes](), requests[-1]
        for request in requests:
            method, target, body, if_none_match, stays, connection_named = request
            answer = http.at_once(method, target, body, if_none_match)
            if answer is None:
                await self._send(b"".join(out))
                out.clear()
                self.phase = Phase.ANSWERING
                answer = await http.answer(method, target, body, if_none_match)
            if pulse.leaving and request is last:
                stays = False
            out.append(in_octets(answer, stays, connection_named))
            if not stays:
                break
            if len(out) == ANSWERS_IN_ONE_SEND:
                await self._send(b"".join(out))
                out.clear()
        await self._send(b"".join(out))
        return stays

    async def _send(self, octets: bytes) -> None:
        try:
            sent = self._socket.send(octets)
        except BlockingIOError:
            sent = 0
        if sent < len(octets):
            await self._send_rest(memoryview(octets)[sent:])

    async def _send_rest(self, rest: memoryview) -> None:
        phase, self.phase = self.phase, Phase.SENDING
        self.since = self._pulse.now
        while rest:
            await trio.lowlevel.wait_writable(self._descriptor)
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
        self.phase = phase

    def _leave(self) -> None:
        """End our side, and read on until the client ends its: closing at once would reset what it still sends."""
        self._socket.shutdown(socket.SHUT_WR)
        self.phase = Phase.LEAVING
        self.since = self._pulse.now


class _Refused(Exception):
    """What the parser's callbacks refuse; ends the parsing.

    Args:
        status: the HTTP status that says why.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def in_octets(answer: HttpAnswer, stays: bool, connection_named: bool = False) -> bytes:
    """Return an answer as it is sent.

    Args:
        answer: the answer.
        stays: whether the connection may be used again.
        connection_named: whether to say so.
    """
    status, fields, body = answer
    end = _CLOSE if not stays else _KEEP if connection_named else b"\r\n"
    return b"".join((_STATUS_LINES[status], fields, end, body))
