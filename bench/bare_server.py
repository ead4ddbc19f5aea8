"""The least that a trio and httptools server can be: a constant for every request.

    python bench/bare_server.py FD OCTETS [--one-task]

Nothing is looked at, nothing is bounded, nobody is turned out. Written as one writes it with trio: a task for each
connection. With `--one-task` the sockets are watched as the listener watches them: by one epoll, in one task.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
from dataclasses import dataclass

import httptools
import trio

SEGMENT_OCTETS = 8_192


class BareConnection:
    """Counts requests and answers them all alike.

    Args:
        sock: of the client.
        answer: the constant.
    """

    def __init__(self, sock: socket.socket, answer: bytes) -> None:
        self._socket = sock
        self._answer = answer
        self._complete = 0
        self._parser = httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        """Count a request."""
        self._complete += 1

    def ready(self) -> bool:
        """Answer what has come; False when the client has gone."""
        data = self._socket.recv(SEGMENT_OCTETS)
        if data:
            self._parser.feed_data(data)
            self._socket.send(self._answer * self._complete)
            self._complete = 0
        return bool(data)

    async def serve(self) -> None:
        """Answer until the client goes."""
        descriptor = self._socket.fileno()
        with self._socket, contextlib.suppress(ConnectionError):  # the load ends its connections with a reset
            await trio.lowlevel.wait_readable(descriptor)
            while self.ready():
                await trio.lowlevel.wait_readable(descriptor)


@dataclass
class BareServer:
    """Accepts and answers for ever.

    Attributes:
        listening: the listening socket, non-blocking.
        answer: the constant.
    """

    listening: socket.socket
    answer: bytes

    def _accept(self) -> socket.socket:
        accepted, _ = self.listening.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted

    async def serve(self) -> None:
        """Serve with a task for each connection."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self.listening)
                nursery.start_soon(BareConnection(self._accept(), self.answer).serve)

    async def serve_in_one_task(self) -> None:
        """Serve with one epoll, in one task."""
        connections: dict[int, tuple[socket.socket, BareConnection]] = {}
        with select.epoll() as epoll:
            epoll.register(self.listening, select.EPOLLIN)
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for descriptor, _ in epoll.poll(0):
                    if descriptor == self.listening.fileno():
                        sock = self._accept()
                        connections[sock.fileno()] = sock, BareConnection(sock, self.answer)
                        epoll.register(sock, select.EPOLLIN)
                        continue
                    sock, connection = connections[descriptor]
                    stays = False
                    with contextlib.suppress(ConnectionError):
                        stays = connection.ready()
                    if not stays:
                        del connections[descriptor]
                        sock.close()


def main() -> None:
    """Serve on an inherited socket: FD, and the octets of the whole answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int)
    parser.add_argument("octets", type=int)
    parser.add_argument("--one-task", action="store_true")
    options = parser.parse_args()
    listening = socket.socket(fileno=options.descriptor)
    listening.setblocking(False)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: %d\r\n\r\n"
    body = options.octets - len(head % options.octets)
    server = BareServer(listening, head % body + bytes(body))
    print("ready", flush=True)
    trio.run(server.serve_in_one_task if options.one_task else server.serve)


if __name__ == "__main__":
    main()
