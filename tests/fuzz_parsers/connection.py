"""A client's connection (`responders/connection.py`): whatever is sent, in whatever pieces, it is answered or ended."""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote_from_bytes

import trio

from engine.metrics.registry import Metrics
from responders.connection import Connection, Phase, Pulse
from responders.request_durations import RequestDurations
from responders.request_reader import SEGMENT_OCTETS, Request
from tests.responders.fuzzed_listener import STATUSES
from tests.responders.listener_client import chunked, get, post
from tests.responders.ocsp_requests import plain
from tests.responders.stand_ins import LIVE, PATH, ScriptedResponder, http_over

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
_ALLOWED = STATUSES | {b"408", b"503"}
"""The client below has no more to say, and the host no live signer."""


class _Host:
    """Watches one connection, without an event loop."""

    def __init__(self) -> None:
        self.is_over = False
        self.asked: Request | None = None

    def watch_reading(self, connection: Connection) -> None:
        pass  # the phase says it

    def watch_writing(self, connection: Connection) -> None:
        pass

    def ask_live(self, connection: Connection, request: Request) -> None:
        self.asked = request

    def ended(self, connection: Connection) -> None:
        self.is_over = True


def seeds() -> list[bytes]:
    """The first octet says into how large pieces the rest is cut."""
    asked = PATH + b"/" + quote_from_bytes(b64encode(plain()), safe="").encode()
    requests = [
        get(asked),
        get(asked, b"Connection: close"),
        get(asked, b'If-None-Match: "x"'),
        post(b"question"),
        post(b"question", b"Expect: 100-continue"),
        post(LIVE + b" question") + get(asked),
        chunked(b"que", b"stion"),
        b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % asked,
    ]
    upgrading = get(asked, b"Connection: Upgrade", b"Upgrade: h2c")  # in pieces it is refused
    together = b"".join(requests[2:7])
    return [b"\0" + upgrading, *(cut + octets for octets in (*requests, together) for cut in (b"\0", b"\7"))]


def attempt(octets: bytes) -> bool:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        host = _Host()
        connection = Connection(ours, http_over(ScriptedResponder()), _pulse(), host)
        told = b""
        for piece in _pieces(octets):
            if host.is_over or connection.phase is Phase.LEAVING:
                break
            theirs.send(piece)
            connection.ready()
            told += _settle(connection, host, theirs)
        if not host.is_over:
            connection.expire()
        if not host.is_over:
            connection.end()
        told += _received(theirs)
    statuses = _STATUS_LINE.findall(told)
    assert _ALLOWED.issuperset(statuses), statuses
    return b"200" in statuses


@cache
def _pulse() -> Pulse:
    async def make() -> Pulse:
        return Pulse(RequestDurations(Metrics()))

    return trio.run(make)


def _pieces(octets: bytes) -> Iterator[bytes]:
    size = octets[0] if octets and octets[0] else SEGMENT_OCTETS
    for start in range(1, len(octets), size):
        yield octets[start : start + size]


def _settle(connection: Connection, host: _Host, client: socket.socket) -> bytes:
    """Let a connection do what it can without more from its client; return what it said."""
    told = _received(client)
    while not host.is_over and (host.asked is not None or connection.phase is Phase.SENDING):
        request, host.asked = host.asked, None
        if request is not None:
            connection.give(request, connection.http.refusal(503))
        else:
            connection.ready()
        told += _received(client)
    return told


def _received(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(1 << 16):
            parts.append(part)
    except OSError:
        pass  # there is no more
    return b"".join(parts)
