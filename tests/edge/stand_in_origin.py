"""An origin that answers as the test says, and notes what it was asked: what cannot be had of a responder on cue."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes


Said = tuple[int, dict[str, str], bytes]
"""Status, header fields, body."""


def kept(body: bytes, seconds: int = 300, **fields: str) -> Said:
    """An answer that caches may keep, with the fields of the responders."""
    now = time.time()
    caching = {
        "Content-Type": "application/ocsp-response",
        "Cache-Control": f"max-age={seconds}, public, no-transform, must-revalidate",
        "Date": formatdate(now, usegmt=True),
        "Last-Modified": formatdate(now - 3600, usegmt=True),
        "Expires": formatdate(now + 172_800, usegmt=True),
    }
    return 200, caching | {name.replace("_", "-"): value for name, value in fields.items()}, body


def not_kept(body: bytes, control: str = "no-store") -> Said:
    """An answer that caches must not keep."""
    return 200, {"Content-Type": "application/ocsp-response", "Cache-Control": control}, body


def echo(asked: Asked) -> Said:
    """An answer that shows what was asked, and may be kept."""
    return kept(b"%s %s %s" % (asked.method.encode(), asked.target.encode(), asked.body))


@dataclass
class Origin:
    """A running origin.

    Args:
        place: HOST:PORT.
        answer: what it says; the test may change it.
        asked: what it was asked.
    """

    place: str
    answer: Callable[[Asked], Said] = echo
    asked: list[Asked] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None
    """Ends it before its block does; its connections too."""

    def times(self, target: str) -> int:
        """How often a target was asked for."""
        return sum(one.target == target for one in self.asked)


class _Server(ThreadingHTTPServer):
    """Answers for an origin; remembers its connections, which nginx keeps open."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.origin = Origin("{}:{}".format(*self.server_address))
        self._connections: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.append(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.remove(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):  # its thread was quicker
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one piece
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = self.requestline.split(" ")[1]  # self.path has lost slashes at its beginning
        asked = Asked(self.command, target, headers, body)
        self.server.origin.asked.append(asked)
        status, fields, octets = self.server.origin.answer(asked)
        self.send_response_only(status)  # without a Date and a Server of the library's own
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    do_GET = do_POST = do_HEAD = _answer


@contextmanager
def running_origin(place: str = "127.0.0.1:0") -> Iterator[Origin]:
    """Run an origin until the block ends.

    Args:
        place: HOST:PORT; port 0: any that is free.
    """
    host, _, port = place.partition(":")
    with _Server((host, int(port))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))

        def stop() -> None:
            if thread.is_alive():
                server.shutdown()
                thread.join()
                server.socket.close()
                server.end_connections()

        server.origin.stop = stop
        thread.start()
        try:
            yield server.origin
        finally:
            stop()
