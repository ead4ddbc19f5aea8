"""Hypercorn's server of connections, for a host that the whole world may ask: HTTP/1.1 only, and each for itself.

Hypercorn takes a connection over to HTTP/2 or to a WebSocket whenever a client wishes it, and lets an error in one
connection end the server with all others: a WebSocket handshake with a mistake in it was enough.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import wrap_app
from quart_trio import QuartTrio

STALL_SECONDS = 5.0
"""How long a client may take nothing of what it is sent. A guess: with a piece of a file, and the grace of a process
that stops, it is less than what the supervisor waits for that process."""

SLOWEST_OCTETS_PER_SECOND = 16_384
"""Whoever takes a piece more slowly than this is cut off. A guess: a modem's rate."""

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|(?!.{254})([\w-]{1,63}\.)*[\w-]{1,63}\.?|)(:\d{0,5})?", re.ASCII)
"""Host as RFC 9112 section 3.2 wants it, with the sizes of RFC 1035 section 2.3.4: on others the router fails."""

PEER_CERTIFICATE = "peer_certificate"
"""In the `state` of a request's scope: the client's certificate (DER) that the TLS handshake verified; None: it showed
none."""

_AUTHORITY = re.compile(rb"[a-z][a-z0-9+.-]*://[^/?]*", re.IGNORECASE)


class _Http11(H11Protocol):
    """HTTP/1.1 that no wish for another protocol ends, whose requests have a path and a Host that can be one.

    A server may ignore the wish (RFC 9110 section 7.8).
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        """Go on, whatever the client wishes."""

    async def _create_stream(self, request: h11.Request) -> None:
        target = _in_origin_form(request.target)
        if target is None or not all(
            _HOST.fullmatch(value) for name, value in request.headers if name == b"host"
        ):
            await self._send_error_response(HTTPStatus.BAD_REQUEST)
            await self.send(Closed())
            return
        fields = [(name, value) for name, value in request.headers if name != b"upgrade"]
        plain = h11.Request(
            method=request.method, target=target, headers=fields, http_version=request.http_version
        )
        await super()._create_stream(plain)


def _in_origin_form(target: bytes) -> bytes | None:
    """Return path and query of a request target (RFC 9112 sections 3.2.1 and 3.2.2); None where it has no path."""
    if target.startswith(b"/"):
        return target
    authority = _AUTHORITY.match(target)
    if authority is None:
        return None
    rest = target[authority.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest


class _Connection(TCPServer):
    """A connection that ends by itself when something goes wrong in it, and at once when its client has ended it."""

    def __init__(
        self,
        app: AppWrapper,
        settings: Config,
        context: WorkerContext,
        state: ConnectionState,
        stream: trio.SSLStream[trio.SocketStream],
    ) -> None:
        super().__init__(app, settings, context, state, stream)
        self._is_left = False
        self._reading = trio.CancelScope()

    async def run(self) -> None:
        """Serve it to its end."""
        try:
            await super().run()
        except* Exception as errors:
            for error in _leaves(errors):
                await self.config.log.error("a connection has ended: %s: %s", type(error).__name__, error)

    async def protocol_send(self, event: Event) -> None:
        """Send, for as long as the client takes what it is sent.

        Cancelled, it sends what it has begun: hypercorn would do so without an end.
        """
        if isinstance(event, RawData):
            async with self.send_lock:
                try:
                    with trio.fail_after(
                        STALL_SECONDS + len(event.data) / SLOWEST_OCTETS_PER_SECOND, shield=True
                    ):
                        await self.stream.send_all(event.data)
                    return
                except trio.TooSlowError:
                    await trio.aclose_forcefully(self.stream)
                except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                    pass  # busy: the other end is closed, and so is this one at the moment
            await self.protocol.handle(Closed())
            self._reading.cancel()  # it may wait until what was being sent is sent, with the next request in hand
        elif not (self._is_left and isinstance(event, Updated)):
            # An idle time that begins after the client has left would keep the connection to that time's end.
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        wrapper = self.protocol
        wrapper.protocol = _Http11(
            wrapper.app,
            wrapper.config,
            wrapper.context,
            wrapper.task_group,
            ConnectionState({**wrapper.state, PEER_CERTIFICATE: self._peer_certificate()}),
            wrapper.ssl,
            wrapper.client,
            wrapper.server,
            wrapper.send,
        )
        with self._reading:
            await super()._read_data()
        self._is_left = True
        await self.idle_task.stop()

    def _peer_certificate(self) -> bytes | None:
        """The certificate the client showed and the handshake verified, DER."""
        return self.stream.getpeercert(binary_form=True) if self.protocol.ssl else None


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in errors.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


async def serve_web(
    app: QuartTrio,
    settings: Config,
    stop: Callable[[], Awaitable[object]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application until told to stop; what is in hand then has the grace that the settings give it.

    Args:
        app: the application.
        settings: of hypercorn; its sockets are taken over.
        stop: returns when the server is to stop.
        task_status: told when connections are accepted.
    """
    wrapped, state = wrap_app(app, settings.wsgi_max_body_size, "asgi"), LifespanState()
    lifespan, context = Lifespan(wrapped, settings, state), WorkerContext(None)
    async with trio.open_nursery() as living:
        await living.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            handler = partial(_Connection, wrapped, settings, context, ConnectionState(state.copy()))
            async with trio.open_nursery() as accepting:
                listeners = _listeners(settings)
                accepting.start_soon(
                    partial(trio.serve_listeners, handler, listeners, handler_nursery=connections)
                )
                task_status.started()
                await stop()
                accepting.cancel_scope.cancel()
            await context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + settings.graceful_timeout
        await lifespan.wait_for_shutdown()
        living.cancel_scope.cancel()


def _listeners(settings: Config) -> list[trio.SocketListener | trio.SSLListener[trio.SocketStream]]:
    sockets, context = settings.create_sockets(), settings.create_ssl_context()
    for one in (*sockets.secure_sockets, *sockets.insecure_sockets):
        one.listen(settings.backlog)
    plain = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in sockets.insecure_sockets]
    if context is None:
        return [*plain]
    secure = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in sockets.secure_sockets]
    return [*plain, *(trio.SSLListener(one, context, https_compatible=True) for one in secure)]
