"""A TCP relay on loopback: judges that go only to the address in the certificate are led to the front that is asked."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Relay(socketserver.ThreadingTCPServer):
    """Passes connections on to where `lead_to` said last, and keeps the methods of their first requests."""

    daemon_threads = True
    _target: tuple[str, int]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.methods: set[str] = set()

    @property
    def place(self) -> str:
        """Its host and port."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"

    def lead_to(self, url: str) -> None:
        """Pass what comes from now on to the host and port of a URL."""
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self._target = (parts.hostname, parts.port)
        self.methods.clear()

    def connect(self) -> socket.socket:
        """Connect to where it leads."""
        return socket.create_connection(self._target)


class _Connection(socketserver.BaseRequestHandler):
    request: socket.socket
    server: Relay

    def handle(self) -> None:
        beginning = self.request.recv(16, socket.MSG_PEEK)
        self.server.methods.add(beginning.split(b" ")[0].decode())
        with self.server.connect() as far:
            back = threading.Thread(target=_pass_on, args=(far, self.request))
            back.start()
            _pass_on(self.request, far)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while octets := source.recv(65_536):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side hung up: so does the other
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relaying() -> Iterator[Relay]:
    """Run a relay in a thread."""
    with Relay() as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()
