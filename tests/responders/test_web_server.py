"""The web server's connections: HTTP/1.1 only, each for itself, gone with their clients."""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
from quart import Response, request
from quart_trio import QuartTrio

from responders import web_server
from responders.web_connection import WebConnection
from responders.web_process import hypercorn_settings
from responders.web_server import serve_web

HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LARGE = 32 << 20
"""Octets: more than the sockets of both ends take."""


@dataclass
class Server:
    """A server of an application that says what it was asked."""

    listening: socket.socket
    stop: trio.Event
    ended: trio.Event
    begun: trio.Event

    async def told(self, *pieces: bytes) -> bytes:
        """What comes back until the server ends the connection, which the client has ended after the last piece."""
        told = bytearray()
        async with await trio.open_tcp_stream(*self.listening.getsockname()) as stream:
            for piece in pieces:
                await stream.send_all(piece)
            while b"\r\n\r\n" not in told and (some := await stream.receive_some()):
                told += some
            await stream.send_eof()
            async for part in stream:
                told += part
        return bytes(told)

    async def ask(self, target: str, fields: bytes = b"") -> bytes:
        return await self.told(b"GET " + target.encode() + b" HTTP/1.1\r\nHost: ca\r\n" + fields + b"\r\n")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    app = QuartTrio(__name__, static_folder=None)
    app.asgi_http_class = WebConnection

    @app.route("/large")
    async def large() -> Response:
        made.begun.set()
        return Response(bytes(LARGE))

    @app.route("/<path:rest>")
    async def echo(rest: str) -> Response:
        return Response(f"{rest}?{request.query_string.decode()}")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = hypercorn_settings(os.dup(listening.fileno()))
        settings.graceful_timeout = math.inf
        made = Server(listening, trio.Event(), trio.Event(), trio.Event())

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await serve_web(app, settings, made.stop.wait, task_status=task_status)
            made.ended.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            yield made
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "fields",
    [
        HANDSHAKE,
        HANDSHAKE.replace(b"13", b"12"),
        HANDSHAKE + b"Content-Length: 0\r\n",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    ],
)
async def test_a_wish_for_another_protocol_is_not_heard(server: Server, fields: bytes) -> None:
    told = await server.ask("/a", fields)
    assert told.startswith(b"HTTP/1.1 200 ")
    assert told.endswith(b"a?")


async def test_no_connection_takes_another_with_it(server: Server) -> None:
    """What follows a handshake on the same connection ended the whole server once."""
    whole = b"GET /a HTTP/1.1\r\nHost: ca\r\n" + HANDSHAKE + b"\r\n"
    await server.told(whole + b"\0\xffPOST nothing")
    assert (await server.told(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (await server.ask("/a")).endswith(b"a?")


@pytest.mark.parametrize("target", ["http://ca/a?b=c", "HTTP://[::1/a?b=c", "/a?b=c"])
async def test_a_target_in_absolute_form_is_taken(server: Server, target: str) -> None:
    assert (await server.ask(target)).endswith(b"a?b=c")


@pytest.mark.parametrize("target", ["*", "ca:80", "?a", "ca/a"])
async def test_a_target_without_a_path_is_refused(server: Server, target: str) -> None:
    assert (await server.ask(target)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["a..b", "a" * 64, ".", "a b", "[::1", "ca:port", "a." * 127 + "ab", "\xe9"])
async def test_a_host_that_can_be_none_is_refused(server: Server, host: str) -> None:
    told = await server.told(b"GET /a HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "host", ["", "ca", "ca.example.", "CA.example:8080", "[::1]:80", "192.0.2.1", "a_b.c"]
)
async def test_any_other_host_is_taken(server: Server, host: str) -> None:
    told = await server.told(b"GET /a HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
    assert told.endswith(b"a?")


async def test_who_takes_nothing_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise he keeps the connection, and the process when it is to stop, for as long as he likes."""
    monkeypatch.setattr(web_server, "STALL_SECONDS", 0.01)
    monkeypatch.setattr(web_server, "SLOWEST_OCTETS_PER_SECOND", 1 << 40)
    async with await trio.open_tcp_stream(*server.listening.getsockname()) as stream:
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: ca\r\n\r\n")
        await server.begun.wait()
        server.stop.set()
        await server.ended.wait()


async def test_a_client_that_resets_the_connection_with_a_request_in_hand_leaves_nothing(
    server: Server,
) -> None:
    """Reading waited for ever until the answer before was sent."""
    stream = await trio.open_tcp_stream(*server.listening.getsockname())
    await stream.send_all(b"GET /large HTTP/1.1\r\nHost: ca\r\n\r\n" * 2)
    await server.begun.wait()
    stream.socket.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )  # close(2) resets it
    await trio.aclose_forcefully(stream)
    server.stop.set()
    await server.ended.wait()


async def test_told_to_stop_it_ends(server: Server) -> None:
    assert (await server.ask("/a")).endswith(b"a?")
    server.stop.set()
    await server.ended.wait()
