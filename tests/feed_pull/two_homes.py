"""A CA's home and a public host's, the real commands between them, over real TLS."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from engine.status.status_store import CertificateStanding, StatusReader
from tests.cli.prepared_home import ROOT, Answer, PreparedHome, command, environment, run_command, run_here

NAME = "public-1"


@dataclass
class Following:
    """`feed pull --follow`, with what it said when it had caught up."""

    process: subprocess.Popen[bytes]
    caught_up: dict[str, Any]
    log: Path

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_bytes().splitlines() if line.endswith(b"}")]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait()


@dataclass
class PublicHome:
    """The home of a public host."""

    path: Path

    @property
    def status_store(self) -> Path:
        return self.path / "status-store"

    def sealmint(self, *arguments: object, code: int = 0) -> Answer:
        """Run a command on the home with --json, as a process that was told nothing of a token."""
        answer = run_command(*arguments, "--home", self.path, "--json")
        assert answer.code == code, (answer.code, answer.out, answer.err)
        return answer

    def run(self, *arguments: object) -> Answer:
        """Run a command in this process, which is quicker; its umask stays as it was."""
        before = os.umask(0o022)
        try:
            return run_here(*arguments, "--home", self.path, "--json")
        finally:
            os.umask(before)

    def look(self, *arguments: object, code: int = 0) -> Answer:
        """As `run`, and check the exit code."""
        answer = self.run(*arguments)
        assert answer.code == code, (answer.code, answer.out, answer.err)
        return answer

    def standing(self, serial: str) -> CertificateStanding | None:
        """What the copy says of a certificate."""
        with StatusReader(self.status_store) as store:
            return store.standing(0, bytes.fromhex(serial))

    def has_answer(self, serial: str, now: int) -> bool:
        with StatusReader(self.status_store) as store:
            return store.presigned(0, bytes.fromhex(serial), now) is not None

    @contextmanager
    def following(self, url: str) -> Iterator[Following]:
        """Follow a feed until the block ends; begins when it has caught up."""
        log = self.path.with_suffix(".follow.log")
        with (
            log.open("wb") as said,
            _started(
                said, "feed", "pull", "--home", self.path, "--from", url, "--follow", "--json"
            ) as process,
        ):
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield Following(process, json.loads(line), log)


@contextmanager
def _started(log: IO[bytes], *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command(*arguments), env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=log
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def feed_of(home: PreparedHome) -> Iterator[str]:
    """Serve the feed of a CA's home until the block ends; yield where it is."""
    log = home.directory / "feed.log"
    with (
        log.open("wb") as said,
        _started(said, "feed", "serve", "--home", home.path, "--listen", "127.0.0.1:0", "--json") as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)["feed"]


def admitted(home: PreparedHome, directory: Path, name: str = NAME) -> PublicHome:
    """Make the home of a public host and let it into the feed of a CA's home."""
    public = PublicHome(directory / "public")
    request, admission = directory / "request.pem", directory / "admission.json"
    public.look("feed", "request", "--name", name, "--out", request)
    home.look("feed", "admit", "--request", request, "--out", admission)
    public.look("feed", "join", "--admission", admission)
    return public
