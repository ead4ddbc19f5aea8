"""What every connection of a listening socket has from the start."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from responders import listening_sockets
from responders.listening_sockets import listen


def test_a_client_that_takes_nothing_is_cut_off_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends to it may wait without a limit, as hypercorn does."""
    monkeypatch.setattr(listening_sockets, "UNTAKEN_MILLISECONDS", 200)
    with ExitStack() as opened:
        (listening,) = listen(("127.0.0.1", 0), 1, opened)
        opened.enter_context(socket.create_connection(listening.getsockname()))
        listening.setblocking(True)
        accepted = opened.enter_context(listening.accept()[0])
        accepted.setblocking(True)
        with pytest.raises(TimeoutError, match="Connection timed out"):
            while True:
                accepted.sendall(bytes(65_536))
