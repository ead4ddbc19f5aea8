"""`sealmint operator serve` on a home, as a process; with the processes of a busy host beside it where wanted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cli.prepared_home import ROOT, command, environment

COOKIE = "sealmint-operator"


@dataclass(frozen=True)
class ServedOperator:
    """A running operator process."""

    url: str
    token: str
    process: subprocess.Popen[bytes]

    @property
    def origin(self) -> str:
        return self.url.rstrip("/")

    def client(self) -> httpx.Client:
        """A client that is not signed in."""
        return httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with self.client() as client:
            answer = client.post("/login", data={"token": self.token}, headers={"Origin": self.origin})
            assert answer.status_code == 303, answer.text
            yield client

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


@contextmanager
def operator_of(home: Path, *, within: Sequence[str] = ()) -> Iterator[ServedOperator]:
    """Serve the page of a home; a process that a test has not stopped is stopped, and must end well.

    Args:
        home: the home.
        within: a command that runs the process.
    """
    started = command("operator", "serve", "--home", home, "--listen", "127.0.0.1:0", "--json")
    with subprocess.Popen(
        [*within, *started], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            yield ServedOperator(said["operator"], Path(said["token_file"]).read_text().strip(), process)
        finally:
            if process.poll() is None:
                process.terminate()
    assert process.returncode == 0


@contextmanager
def busy_host(directory: Path) -> Iterator[None]:
    """Have made-up processes answer in a directory of control sockets."""
    started = [sys.executable, "-m", "tests.operator.stand_ins", str(directory)]
    with subprocess.Popen(started, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.communicate()
    assert process.returncode == 0
