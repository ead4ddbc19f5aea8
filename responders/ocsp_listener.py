"""The fast OCSP listener: accepts connections, ends those that take too long, and stops without a reset.

Cancel scopes with deadlines for every request would cost more than the requests; a sweep over all connections a few
times in the shortest limit costs nothing, and limits are kept to the length of a sweep.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import trio

from engine.metrics.catalogue import (
    HTTP_CONNECTION_REFUSAL_DURATION,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_ACCEPTED,
    HTTP_CONNECTIONS_EXPIRED,
)
from engine.metrics.registry import Metrics
from responders.connection import Phase, last_words
from responders.connection_loop import ConnectionLoop
from responders.ocsp_http import HttpAnswering
from responders.proxied_connection import Arrivals
from responders.request_reader import SEGMENT_OCTETS

BACKLOG = 1_024
"""Connections that the kernel may hold until they are accepted. A guess: the shortest burst of reconnecting clients."""

ACCEPTED_AT_ONCE = 64
"""Connections accepted before those that are open get their turn. A guess."""

LEAVING_SECONDS = 2.0
"""How long a client may take to end its side of a connection that we have ended. A guess."""

LAST_REQUEST_SECONDS = 1.0
"""How long an idle connection is kept when the process is stopping: a request that is on its way is still answered.
A guess: several round trips."""

STOPPING_SECONDS = 15.0
"""When connections that are still open are cut off. A guess: above the time of a request and of a live answer."""

SWEEPS = 8
"""Sweeps in the shortest limit: a limit is exceeded by an eighth at most. A guess."""

_WAIT_FOR_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a listener process puts up with: `[responders]`.

    Attributes:
        connections: open at once; more are refused with 503.
        idle_seconds: without a request.
        request_seconds: for a request to arrive, and for its answer to be taken.
    """

    connections: int
    idle_seconds: float
    request_seconds: float


class OcspListener:
    """Answers OCSP requests on listening sockets.

    Args:
        http: answers requests.
        limits: what clients are allowed.
        arrivals: takes connections in where it matters whose they are: behind proxies, and where answers are counted.
        metrics: of the process; None = what is counted is for nobody.
    """

    def __init__(
        self,
        http: HttpAnswering,
        limits: Limits,
        arrivals: Arrivals | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._http = http
        self._metrics = metrics or Metrics()
        self._accepted = self._metrics.counter(HTTP_CONNECTIONS_ACCEPTED)
        self._refused = self._metrics.histogram(HTTP_CONNECTION_REFUSAL_DURATION)
        self._expired = {
            phase: self._metrics.counter(HTTP_CONNECTIONS_EXPIRED, phase=phase.name.lower())
            for phase in Phase
        }
        self._limits = limits
        self._arrivals = arrivals
        self._seconds = {
            Phase.IDLE: limits.idle_seconds,
            Phase.ARRIVING: limits.request_seconds,
            Phase.ANSWERING: float("inf"),
            Phase.SENDING: limits.request_seconds,
            Phase.LEAVING: LEAVING_SECONDS,
        }

    async def serve(
        self,
        sockets: Sequence[socket.socket],
        stop: trio.Event,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until told to stop; then finish what is in hand.

        Args:
            sockets: listening and non-blocking; they stay open.
            stop: set to stop: nothing more is accepted, every answer says that the connection ends, idle connections
                are ended, and what is left after `STOPPING_SECONDS` is cut off.
            task_status: told when connections are accepted.

        Cancelled, it closes all connections at once.
        """
        connections = self.connections = ConnectionLoop(self._http, self._metrics)
        opened = self._metrics.gauge(HTTP_CONNECTIONS)
        self._metrics.before_reading(lambda: opened.set(len(connections)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.connections.run)
            nursery.start_soon(self._sweep)
            async with trio.open_nursery() as accepting:
                for listening in sockets:
                    accepting.start_soon(self._accept, listening)
                task_status.started()
                await stop.wait()
                accepting.cancel_scope.cancel()
            self.connections.pulse.leaving = True
            self._seconds[Phase.IDLE] = min(LAST_REQUEST_SECONDS, self._limits.idle_seconds)
            with trio.move_on_after(STOPPING_SECONDS):
                await self.connections.wait_empty()
            nursery.cancel_scope.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listening)
            for _ in range(ACCEPTED_AT_ONCE):
                try:
                    accepted, peer = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _WAIT_FOR_DESCRIPTORS:
                        sys.stderr.write(f"cannot accept connections: {error.strerror}\n")
                        await trio.sleep(0.1)  # until some are closed; a guess
                        break
                    continue  # that client has gone again
                self._accepted.add()
                accepted.setblocking(False)
                if len(self.connections) >= self._limits.connections:
                    self._refuse(accepted)
                else:
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._arrivals is None:
                        self.connections.add(accepted)
                    else:
                        self._arrivals.take(self.connections, accepted, peer[0])

    def _refuse(self, accepted: socket.socket) -> None:
        """Say that there is no room, to a client that may not even have asked yet."""
        began = perf_counter()
        with accepted, contextlib.suppress(OSError):
            accepted.send(last_words(self._http.refusal(503)))
            accepted.shutdown(socket.SHUT_WR)
            accepted.recv(SEGMENT_OCTETS)  # what is read will not be answered by a reset
        self._refused.observe(perf_counter() - began)

    async def _sweep(self) -> None:
        """Tell every connection whose phase has lasted too long."""
        pulse, seconds = self.connections.pulse, self._seconds
        pause = min(LAST_REQUEST_SECONDS, *seconds.values()) / SWEEPS
        while True:
            await trio.sleep(pause)
            now = pulse.now = trio.current_time()
            for connection in self.connections:
                if now - connection.since > seconds[connection.phase]:
                    self._expired[connection.phase].add()
                    connection.expire()
