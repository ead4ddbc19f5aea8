"""A listener in the test's own process, and a client that sends octets as they are written."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import trio

from responders.ocsp_http import OcspHttp
from responders.ocsp_listener import Limits, OcspListener
from responders.proxied_connection import Arrivals

LIMITS = Limits(connections=100, idle_seconds=60.0, request_seconds=60.0)
"""Long enough that no test meets them unawares."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """With names in lower case."""
    body: bytes


class Client:
    """One connection.

    Args:
        stream: connected.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = b""

    async def send(self, octets: bytes) -> None:
        await self.stream.send_all(octets)

    async def answer(self) -> Answer:
        """Read one response."""
        head, _, self._unread = (await self._until(b"\r\n\r\n")).partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in fields}
        assert len(headers) == len(fields), lines
        length = 0 if status in ("100", "304") else int(headers["content-length"])
        while len(self._unread) < length:
            self._unread += await self._some()
        body, self._unread = self._unread[:length], self._unread[length:]
        return Answer(int(status), headers, body)

    async def ask(self, octets: bytes) -> Answer:
        await self.send(octets)
        return await self.answer()

    async def is_closed(self) -> bool:
        """Wait for the end of the connection; whether it came without anything before it."""
        return not self._unread and not await self.stream.receive_some()

    async def _until(self, end: bytes) -> bytes:
        while end not in self._unread:
            self._unread += await self._some()
        return self._unread

    async def _some(self) -> bytes:
        part = await self.stream.receive_some()
        assert part, ("the connection ended in the middle of a response", self._unread)
        return part


class RunningListener:
    """A listener with its socket.

    Args:
        http: answers.
        limits: of the listener.
        listening: the socket; a new one without it.
        arrivals: of the listener.
    """

    def __init__(
        self,
        http: OcspHttp,
        limits: Limits = LIMITS,
        listening: socket.socket | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        self.socket = listening or socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.listener = OcspListener(http, limits, arrivals)
        self.stop = trio.Event()
        self.ended = trio.Event()
        self._clients: list[Client] = []

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        await self.listener.serve([self.socket], self.stop, task_status)
        self.ended.set()

    async def connect(self) -> Client:
        client = Client(await trio.open_tcp_stream(*self.socket.getsockname()))
        self._clients.append(client)
        return client

    def close(self) -> None:
        self.socket.close()
        for client in self._clients:
            client.stream.socket.close()

    async def ask(self, octets: bytes) -> Answer:
        """Ask on a connection of its own."""
        client = await self.connect()
        async with client.stream:
            return await client.ask(octets)


@asynccontextmanager
async def running(
    http: OcspHttp, limits: Limits = LIMITS, arrivals: Arrivals | None = None
) -> AsyncIterator[RunningListener]:
    """Run a listener while the block runs."""
    made = RunningListener(http, limits, arrivals=arrivals)
    with closing(made):
        async with trio.open_nursery() as nursery:
            await nursery.start(made.serve)
            yield made
            nursery.cancel_scope.cancel()


def get(target: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((b"GET " + target + b" HTTP/1.1", b"Host: ocsp.example", *fields, b"", b""))


def post(body: bytes, *fields: bytes, target: bytes = b"/") -> bytes:
    length = b"Content-Length: %d" % len(body)
    head = (b"POST " + target + b" HTTP/1.1", b"Host: ocsp.example", length, *fields)
    return b"\r\n".join((*head, b"", body))


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST / HTTP/1.1\r\nHost: ocsp.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + framed + b"0\r\n\r\n"
