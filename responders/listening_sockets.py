"""The listening sockets: made by the supervisor, kept open by it, and handed down to the processes that accept."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from engine.errors import InputRejected
from responders.ocsp_listener import BACKLOG


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        InputRejected: it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 0xFFFF:
        rule = "HOST:PORT; port 0 stands for any that is free"
        raise InputRejected("this is no address to listen at", place="address", value=text, rule=rule)
    return host.removeprefix("[").removesuffix("]"), int(port)


UNTAKEN_MILLISECONDS = 60_000
"""How long a client may take nothing at all of what is sent to it until the kernel breaks the connection
(TCP_USER_TIMEOUT of tcp(7), which accepted sockets take over). A guess. The listener has a closer limit of its own;
hypercorn sends behind a shield, so that nothing else would ever end the sending."""


def listen(address: tuple[str, int], count: int, opened: ExitStack) -> list[socket.socket]:
    """Listen at an address with several sockets, among which the kernel divides the connections (SO_REUSEPORT).

    A socket that stays open here keeps the connections that wait in it, so the process that accepts from it may be
    replaced without one of them being reset.

    Args:
        address: host and port; with port 0 any that is free.
        count: how many sockets.
        opened: closes them.

    Raises:
        InputRejected: nobody can listen there.
    """
    host, port = address
    sockets: list[socket.socket] = []
    try:
        family, *_, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with socket.socket(
            family, socket.SOCK_STREAM
        ) as alone:  # SO_REUSEPORT would share with a stranger as well
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(found)
        for _ in range(count):
            listening = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MILLISECONDS)
            listening.bind(sockets[0].getsockname() if sockets else found)
            listening.setblocking(False)
            sockets.append(listening)
    except OSError as error:
        place = f"{host}:{port}"
        raise InputRejected("cannot listen at this address", place=place, value=error.strerror) from error
    for listening in sockets:
        listening.listen(BACKLOG)
    return sockets


def url_of(listening: Sequence[socket.socket]) -> str:
    """Return the URL that leads to a listening socket."""
    host, port = listening[0].getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
