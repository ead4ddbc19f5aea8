"""Unix sockets between processes of one host, open to their owner only."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from engine.errors import ConfigurationInvalid


async def connect_unix(path: Path) -> trio.SocketStream:
    """Connect to a socket of this host.

    Raises:
        OSError: nobody listens there.
    """
    client = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_name(path) as name:
            await client.connect(name)
    except BaseException:
        client.close()
        raise
    return trio.SocketStream(client)


def listen_unix(path: Path, backlog: int) -> trio.SocketListener:
    """Bind beside the path, close it to others, and rename: nobody finds a socket that does not answer yet.

    A socket that is there already is left over: the caller holds the lock of whoever listens here.

    Raises:
        ConfigurationInvalid: the directory is open to others.
        OSError: it cannot be listened at.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        rule = "the directory gives group and others no right (mode 0700)"
        raise ConfigurationInvalid("the socket would be open to others", place=str(path), rule=rule)
    partial = path.with_name(f".{os.getpid()}.socket")
    partial.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_name(partial) as name:
            server.bind(name)
        partial.chmod(0o600)
        server.listen(backlog)
        partial.rename(path)
    except BaseException:
        server.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(server))


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of the socket by way of its directory's descriptor: an address has room for 107 octets (unix(7))."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
