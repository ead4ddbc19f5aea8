"""One connection of the fast OCSP listener: answers in the order of the requests.

Thin on purpose: with a whole request in one segment, which is nearly always so, it is one `recv`, one feed of the
parser, one answer and one `send`, without a task of its own or an `await` (decision 0027). A connection has no timers:
it says in which phase it is and since when, and the listener's sweeper ends a phase that has lasted too long.

A segment is at most `SEGMENT_OCTETS`, and what came in one is answered and sent before the next is read, so pipelining
holds no more than a segment's requests and `ANSWERS_IN_ONE_SEND` answers.
"""

from __future__ import annotations

import socket
from enum import Enum
from http import HTTPStatus
from time import perf_counter
from types import MappingProxyType
from typing import Protocol

import trio

from responders.ocsp_http import HttpAnswer, HttpAnswering
from responders.request_durations import RequestDurations
from responders.request_reader import CONNECTION_NAMED, SEGMENT_OCTETS, STAYS, Request, RequestReader

ANSWERS_IN_ONE_SEND = 16
"""A guess: some 30 KB, which a socket's buffer takes."""

_STATUS_LINES = MappingProxyType(
    {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
)
_CLOSE = b"Connection: close\r\n\r\n"
_KEEP = b"Connection: keep-alive\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What a connection waits for; the sweeper has a time limit for each."""

    IDLE = "a request"
    ARRIVING = "the rest of a request"
    ANSWERING = "the live signer, which has a limit of its own"
    SENDING = "a client that does not take its answer"
    LEAVING = "the client's end of a connection that we have ended"


IDLE, ARRIVING, ANSWERING, SENDING, LEAVING = Phase  # names of the module: the hot path looks them up


class Pulse:
    """What all connections of a process share.

    Args:
        durations: counts their requests.

    Attributes:
        count: of these durations.
        now: the time of the last sweep.
        turn: when the present turn of the event loop began, by `perf_counter`: what is ready waits since then.
        leaving: whether the process is.
    """

    __slots__ = ("count", "leaving", "now", "turn")

    def __init__(self, durations: RequestDurations) -> None:
        self.count = durations.count
        self.now = trio.current_time()
        self.turn = perf_counter()
        self.leaving = False


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
        http: answers the requests of this client.
        pulse: shared by all connections of the process.
        host: watches the socket.

    Attributes:
        descriptor: of the socket.
        http: answers its requests.
        phase: what it waits for.
        since: since when: the time of the last sweep before that.
    """

    __slots__ = (
        "_host",
        "_is_last",
        "_pulse",
        "_reader",
        "_refused",
        "_requests",
        "_rest",
        "_socket",
        "descriptor",
        "http",
        "phase",
        "since",
    )

    def __init__(self, sock: socket.socket, http: HttpAnswering, pulse: Pulse, host: ConnectionHost) -> None:
        self._socket = sock
        self.http = http
        self._pulse = pulse
        self._host = host
        self._reader = RequestReader()
        self._requests = self._reader.requests  # complete, in their order
        self._refused = 0  # the HTTP status with which the rest of the segment is refused
        self._is_last = False  # of what was sent, the last says that the connection ends
        self._rest = memoryview(b"")  # to be sent
        self.descriptor = sock.fileno()
        self.phase = IDLE
        self.since = pulse.now

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
                self._socket.send(last_words(self.http.refusal(408)))
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
        self._refused = self._reader.feed(data)
        if self._requests:
            self.phase = IDLE
            self.since = self._pulse.now
        self._go_on()

    def _go_on(self) -> None:
        """Answer the requests that are complete; then see to the rest of the segment."""
        requests, pulse = self._requests, self._pulse
        out: list[bytes] = []
        while requests:
            request = requests.popleft()
            method, target, body, if_none_match, _, _ = request
            answer = self.http.at_once(method, target, body, if_none_match)
            if answer is None:
                if not self._send(b"".join(out)):
                    requests.appendleft(request)
                    return
                self.phase = ANSWERING
                self._host.ask_live(self, request)
                return
            pulse.count(method, answer, pulse.turn)
            out.append(self._in_octets(request, answer))
            if len(out) == ANSWERS_IN_ONE_SEND:
                if not self._send(b"".join(out)):
                    return
                out.clear()
        if not out or self._send(b"".join(out)):
            self._see_to_the_rest()

    def _in_octets(self, request: Request, answer: HttpAnswer) -> bytes:
        if not request[STAYS] or (self._pulse.leaving and not self._requests):
            self._is_last = True
            self._requests.clear()
        status, fields, body = answer
        end = _CLOSE if self._is_last else _KEEP if request[CONNECTION_NAMED] else b"\r\n"
        return b"".join((_STATUS_LINES[status], fields, end, body))

    def _see_to_the_rest(self) -> None:
        """End the connection, refuse what is no request, or wait for the rest of one, within bounds."""
        if self._is_last:
            self._leave()
            return
        if self._refused:
            self._is_last = True
            refusal = self.http.refusal(self._refused)
            self._pulse.count(b"", refusal, self._pulse.turn)
            if self._send(last_words(refusal)):
                self._leave()
        elif self._reader.is_partial:
            if self.phase is not ARRIVING:
                self.phase = ARRIVING
                self.since = self._pulse.now
            if self._reader.wants_continue():
                self._socket.send(_CONTINUE)

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


def last_words(answer: HttpAnswer) -> bytes:
    """Return an answer as it is sent by whoever ends the connection after it."""
    status, fields, body = answer
    return b"".join((_STATUS_LINES[status], fields, _CLOSE, body))
