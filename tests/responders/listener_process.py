"""A real listener process on a home, with a port of its own, and a client of it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.listening_sockets import listen
from responders.supervised_process import module_command
from tests.cli.prepared_home import ROOT
from tests.responders.listener_client import post

UNAUTHORIZED = error_response(ResponseStatus.UNAUTHORIZED)


class ListenerProcess:
    """A listener process, and a client of it."""

    def __init__(self, process: subprocess.Popen[bytes], address: tuple[str, int], question: bytes) -> None:
        self.process = process
        self.address = address
        self._question = question

    def ask(self, token: str | None = None, *, header: bytes = b"", times: int = 1) -> list[bytes]:
        """Ask on one connection; return the bodies."""
        target = b"/" if token is None else b"/t/" + token.encode() + b"/"
        bodies = []
        with socket.create_connection(self.address) as client, client.makefile("rb") as answers:
            client.sendall(header)
            for _ in range(times):
                client.sendall(post(self._question, target=target))
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                fields = dict(line.rstrip().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
                bodies.append(answers.read(int(fields[b"Content-Length"])))
        return bodies

    def is_authorized(self, token: str) -> bool:
        return self.ask(token) != [UNAUTHORIZED]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait() == 0


@contextmanager
def listener_process(home: Path, question: bytes) -> Iterator[ListenerProcess]:
    """Start a listener process; it is killed when the block ends.

    Args:
        home: the home.
        question: the OCSPRequest that its client asks.
    """
    with ExitStack() as opened:
        (listening,) = listen(("127.0.0.1", 0), 1, opened)
        descriptor = listening.fileno()
        with subprocess.Popen(
            module_command("responders.listener_process", "--home", home, "--socket", descriptor),
            cwd=ROOT,
            pass_fds=[descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                yield ListenerProcess(process, listening.getsockname(), question)
            finally:
                process.kill()
