"""One connection of the fast OCSP listener: HTTP/1.1 by httptools, answers in the order of the requests.

Thin on purpose: with a whole request in one segment, which is nearly always so, it is one `recv`, one feed of the
parser, one answer and one `send`, without a task of its own or an `await` (decision 0027). A connection has no timers:
it says in which phase it is and since when, and the listener's sweeper ends a phase that has lasted too long.

Bounds: a segment is at most `SEGMENT_OCTETS`, and what came in one is answered and sent before the next is read, so
pipelining holds no more than a segment's requests and `ANSWERS_IN_ONE_SEND` answers. A request that does not fit one
segment may grow to `HEADER_OCTETS` without the end of its header section, then by `BODY_OCTETS` of body.
"""

from __future__ import annotations

import re
import socket
from collections import deque
from enum import Enum
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Protocol

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


class Phase(Enum):
    """What a connection waits for; the sweeper has a time limit for each."""

    IDLE = "a request"
    ARRIVING = "the rest of a request"
    ANSWERING = "the live signer, which has a limit of its own"
    SENDING = "a client that does not take its answer"
    LEAVING = "the client's end of a connection that we have ended"


IDLE, ARRIVING, ANSWERING, SENDING, LEAVING = Phase  # names of the module: the hot path looks them up


class Pulse:
    """What all connections of a process look at: the time of the last sweep, and whether the process is leaving."""

    __slots__ = ("leaving", "now")

    def __init__(self) -> None:
        self.now = trio.current_time()
        self.leaving = False


Request = tuple[bytes, bytes, bytes, bytes | None, bool, bool]
"""Method, target, body, If-None-Match; whether the connection may be used again (RFC 9112 section 9.3); whether there
was a Connection field, for an HTTP/1.0 client wants to read that it was heard."""

_STAYS: Final = 4
_CONNECTION_NAMED: Final = 5


class ConnectionHost(Protocol):
    """What a connection asks of whoever watches its socket: `ConnectionLoop`."""

    def watch_reading(self, connection: Connection) -> None:
        """Call `ready` when there is something to be read; so it is at first."""
        ...

    def watch_writing(self, connection: Connection) -> None:
        """Call `ready` when something can be sent, and not for anything else."""
        ...

    def ask_live(self, connection: Connection, request: Request) -> None:
        """Watch nothing; call `give` with the live signer's answer."""
        ...

    def ended(self, connection: Connection) -> None:
        """The socket is about to be closed."""
        ...


class Connection:
    """One client.

    Args:
        sock: its socket, non-blocking; closed when either side has ended the connection.
        http: answers requests.
        pulse: shared by all connections of the process.
        host: watches the socket.

    Attributes:
        descriptor: of the socket.
        phase: what it waits for.
        since: since when: the time of the last sweep before that.
    """

    __slots__ = (
        "_body",
        "_connection_named",
        "_continue",
        "_host",
        "_hosts",
        "_http",
        "_if_none_match",
        "_in_header",
        "_is_last",
        "_parser",
        "_pulse",
        "_received",
        "_refused",
        "_requests",
        "_rest",
        "_socket",
        "_target",
        "descriptor",
        "phase",
        "since",
    )

    def __init__(self, sock: socket.socket, http: OcspHttp, pulse: Pulse, host: ConnectionHost) -> None:
        self._socket = sock
        self._http = http
        self._pulse = pulse
        self._host = host
        self._parser = httptools.HttpRequestParser(self)
        self._requests = deque[Request]()  # complete, in their order
        self._received = 0  # octets of a request that came in more than one segment
        self._refused = 0  # the HTTP status with which the rest of the segment is refused
        self._is_last = False  # of what was sent, the last says that the connection ends
        self._rest = memoryview(b"")  # to be sent
        self.descriptor = sock.fileno()
        self.phase = IDLE
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

    # What the host calls.

    def ready(self) -> None:
        """Go on: read what has come, or send what is left to be sent. Never waits."""
        try:
            if self.phase is SENDING:
                self._send_rest()
                return
            data = self._socket.recv(SEGMENT_OCTETS)
            if not data:
                self.end()
            elif self.phase is not LEAVING:  # then what comes is not heard any more
                self._take(data)
        except BlockingIOError:
            return
        except OSError:
            self.end()  # the client has gone; there is nobody to tell

    def give(self, request: Request, answer: HttpAnswer) -> None:
        """Send an answer of the live signer's, and go on with what came after the request."""
        try:
            self._host.watch_reading(self)
            if self._send(self._in_octets(request, answer)):
                self._go_on()
        except OSError:
            self.end()

    def expire(self) -> None:
        """End a phase that has lasted too long."""
        try:
            if self.phase is ARRIVING:
                self._socket.send(last_words(self._http.refusal(408)))
            if self.phase in (ARRIVING, IDLE):
                self._leave()
            else:
                self.end()
        except OSError:
            self.end()

    def end(self) -> None:
        """Close the connection, whatever is in hand."""
        self._host.ended(self)
        self._socket.close()

    def _take(self, data: bytes) -> None:
        """Read a segment and answer the requests that it completes."""
        self._refused = self._feed(data)
        if self._requests:
            self._received = 0
            self.phase = IDLE
            self.since = self._pulse.now
        else:
            self._received += len(data)
        self._go_on()

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

    def _go_on(self) -> None:
        """Answer the requests that are complete; then see to the rest of the segment."""
        requests = self._requests
        out: list[bytes] = []
        while requests:
            request = requests.popleft()
            method, target, body, if_none_match, _, _ = request
            answer = self._http.at_once(method, target, body, if_none_match)
            if answer is None:
                if not self._send(b"".join(out)):
                    requests.appendleft(request)
                    return
                self.phase = ANSWERING
                self._host.ask_live(self, request)
                return
            out.append(self._in_octets(request, answer))
            if len(out) == ANSWERS_IN_ONE_SEND:
                if not self._send(b"".join(out)):
                    return
                out.clear()
        if not out or self._send(b"".join(out)):
            self._see_to_the_rest()

    def _in_octets(self, request: Request, answer: HttpAnswer) -> bytes:
        if not request[_STAYS] or (self._pulse.leaving and not self._requests):
            self._is_last = True
            self._requests.clear()
        status, fields, body = answer
        end = _CLOSE if self._is_last else _KEEP if request[_CONNECTION_NAMED] else b"\r\n"
        return b"".join((_STATUS_LINES[status], fields, end, body))

    def _see_to_the_rest(self) -> None:
        """End the connection, refuse what is no request, or wait for the rest of one, within bounds."""
        if self._is_last:
            self._leave()
            return
        if not self._refused and (self._target or not self._in_header):
            self._refused = self._arriving()
        if self._refused:
            self._is_last = True
            if self._send(last_words(self._http.refusal(self._refused))):
                self._leave()

    def _arriving(self) -> int:
        """Note that a request has come in part; return the HTTP status that refuses it, or 0."""
        if self.phase is not ARRIVING:
            self.phase = ARRIVING
            self.since = self._pulse.now
        if self._in_header:
            return 431 if self._received >= HEADER_OCTETS else 0
        if (
            self._received > HEADER_OCTETS + 2 * BODY_OCTETS
        ):  # chunks may be small, but not their framing large
            return 413
        if self._continue and self._parser.get_http_version() != "1.0":
            self._socket.send(_CONTINUE)
        self._continue = False
        return 0

    def _send(self, octets: bytes) -> bool:
        """Send; return whether everything was taken. If not, `ready` goes on when it can."""
        try:
            sent = self._socket.send(octets)
        except BlockingIOError:
            sent = 0
        if sent == len(octets):
            return True
        self._rest = memoryview(octets)[sent:]
        self.phase = SENDING
        self.since = self._pulse.now
        self._host.watch_writing(self)
        return False

    def _send_rest(self) -> None:
        self._rest = self._rest[self._socket.send(self._rest) :]
        if not self._rest:
            self.phase = IDLE
            self.since = self._pulse.now
            self._host.watch_reading(self)
            self._go_on()

    def _leave(self) -> None:
        """End our side, and read on until the client ends its: closing at once would reset what it still sends."""
        self._socket.shutdown(socket.SHUT_WR)
        self.phase = LEAVING
        self.since = self._pulse.now


class _Refused(Exception):
    """What the parser's callbacks refuse; ends the parsing.

    Args:
        status: the HTTP status that says why.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def last_words(answer: HttpAnswer) -> bytes:
    """Return an answer as it is sent by whoever ends the connection after it."""
    status, fields, body = answer
    return b"".join((_STATUS_LINES[status], fields, _CLOSE, body))
