"""The connections of a listener process, watched together by one epoll, which trio watches in turn.

A task for each connection, waiting with `wait_readable`, costs as much as everything else a request takes: trio
schedules the task and changes the registration of its socket for every request (decision 0027). Here a socket is
registered once, and one task calls all connections that are ready.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from time import perf_counter
from typing import Protocol

import trio

from engine.metrics.registry import Metrics
from responders.connection import Connection, Phase, Pulse
from responders.ocsp_http import HttpAnswering
from responders.request_durations import RequestDurations
from responders.request_reader import Request

READY_AT_ONCE = 64
"""Connections called before other tasks get their turn. A guess: some 2 ms of work."""


class Watched(Protocol):
    """What a connection is to the loop: a `Connection`, or what comes before one (`ProxiedConnection`)."""

    descriptor: int
    phase: Phase
    since: float

    def ready(self) -> None:
        """Go on. Never waits."""
        ...

    def expire(self) -> None:
        """End a phase that has lasted too long."""
        ...

    def end(self) -> None:
        """Close the connection, whatever is in hand."""
        ...


class ConnectionLoop:
    """Watches connections.

    Args:
        http: answers requests, where it does not matter whose they are.
        metrics: of the process.

    Attributes:
        pulse: what the connections look at.
    """

    def __init__(self, http: HttpAnswering, metrics: Metrics) -> None:
        self.pulse = Pulse(RequestDurations(metrics))
        self._http = http
        self._epoll = select.epoll()
        self._connections: dict[int, Watched] = {}
        self._live: trio.Nursery | None = None
        self._fewer = trio.Event()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._connections.values()))  # a copy: they end while one looks at them

    def add(self, accepted: socket.socket, http: HttpAnswering | None = None) -> None:
        """Take a connection in; its socket is non-blocking, and its requests may have an answerer of their own."""
        self.watch(Connection(accepted, http or self._http, self.pulse, self))

    def watch(self, connection: Watched) -> None:
        """Call a connection when there is something to be read."""
        self._connections[connection.descriptor] = connection
        self._epoll.register(connection.descriptor, select.EPOLLIN)

    def succeed(self, before: Watched, accepted: socket.socket, http: HttpAnswering) -> None:
        """Put a `Connection` in the place of what came before it on the same socket."""
        self._connections[before.descriptor] = Connection(accepted, http, self.pulse, self)

    async def run(self) -> None:
        """Serve the connections until cancelled; then they are closed."""
        connections, descriptor = self._connections, self._epoll.fileno()
        try:
            async with trio.open_nursery() as self._live:
                while True:
                    await trio.lowlevel.wait_readable(descriptor)
                    self.pulse.turn = perf_counter()
                    for ready, _ in self._epoll.poll(0, READY_AT_ONCE):
                        connections[ready].ready()
        finally:
            for connection in self:
                connection.end()
            self._epoll.close()

    async def wait_empty(self) -> None:
        """Wait until there is no connection."""
        while self._connections:
            self._fewer = trio.Event()
            await self._fewer.wait()

    # What connections ask for.

    def watch_reading(self, connection: Connection) -> None:
        """Call the connection when there is something to be read."""
        self._watch(connection, select.EPOLLIN)

    def watch_writing(self, connection: Connection) -> None:
        """Call the connection when something can be sent."""
        self._watch(connection, select.EPOLLOUT)

    def ask_live(self, connection: Connection, request: Request) -> None:
        """Give the connection the live signer's answer; nothing is read from it meanwhile."""
        if self._live is None:
            raise RuntimeError("a connection asked before the loop ran")
        # Not only modified: epoll tells of a hang-up whatever it was asked for, and would do so again and again.
        self._epoll.unregister(connection.descriptor)
        self._live.start_soon(self._answer_live, connection, request, self.pulse.turn)

    def ended(self, connection: Watched) -> None:
        """Forget a connection; epoll does by itself when the socket is closed."""
        del self._connections[connection.descriptor]
        self._fewer.set()

    def _watch(self, connection: Connection, events: int) -> None:
        try:
            self._epoll.modify(connection.descriptor, events)
        except FileNotFoundError:
            self._epoll.register(connection.descriptor, events)

    async def _answer_live(self, connection: Connection, request: Request, began: float) -> None:
        method, target, body, if_none_match, _, _ = request
        answer = await connection.http.answer(method, target, body, if_none_match)
        self.pulse.count(method, answer, began)
        self.pulse.turn = perf_counter()  # for the requests behind it that have come already
        connection.give(request, answer)
