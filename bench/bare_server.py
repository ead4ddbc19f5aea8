"""The least that a trio and httptools server can be: a constant for every request.

    python -m bench.bare_server FD OCTETS

Sockets are used as the listener uses them (a task for each connection, `wait_readable`, one `recv`, one `send`), and
nothing else is done: no header is looked at, nothing is bounded, nobody is turned out.
"""

from __future__ import annotations

import contextlib
import socket
import sys

import httptools
import trio

SEGMENT_OCTETS = 8_192


class BareConnection:
    """Counts requests and answers them all alike."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._complete = 0

    def on_message_complete(self) -> None:
        """Count a request."""
        self._complete += 1

    async def serve(self, sock: socket.socket) -> None:
        """Answer until the client goes."""
        parser = httptools.HttpRequestParser(self)
        descriptor = sock.fileno()
        with sock, contextlib.suppress(ConnectionError):  # the load ends its connections with a reset
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                data = sock.recv(SEGMENT_OCTETS)
                if not data:
                    return
                parser.feed_data(data)
                sock.send(self._answer * self._complete)
                self._complete = 0


async def serve(listening: socket.socket, answer: bytes) -> None:
    """Accept and answer for ever."""
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listening)
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nursery.start_soon(BareConnection(answer).serve, accepted)


def main() -> None:
    """Serve on an inherited socket: FD, and the octets of the whole answer."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    listening.setblocking(False)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: %d\r\n\r\n"
    octets = int(sys.argv[2])
    body = octets - len(head % octets)
    print("ready", flush=True)
    trio.run(serve, listening, head % body + bytes(body))


if __name__ == "__main__":
    main()
