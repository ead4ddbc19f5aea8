"""Homes that share one record in PostgreSQL, and the account of all that their tokens signed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from engine.backup.store_copy import copy_store
from engine.store.database import open_store
from tests.cli.prepared_home import (
    CERTIFICATES,
    ROOT,
    SAFETY_NET,
    PreparedHome,
    command,
    copy_of,
    environment,
    wait_until,
    workers_of,
)
from tests.issuance.signature_account import assert_accounted_for
from tests.postgresql_server import OWNER, WRITER, PostgresqlServer
from tests.processes import command_line

WORKING = b"engine.issuance.worker"


class SharedRecord:
    """Homes with one record, each with a copy of the token; run 1 is planned.

    Args:
        prepared: the home that is copied, whose record all share.
        server: where the record is put.
        directory: where the homes are made.
        names: of the homes.
        url: of the record, as the homes call it; the server's socket without one.
    """

    def __init__(
        self,
        prepared: PreparedHome,
        server: PostgresqlServer,
        directory: Path,
        names: Sequence[str],
        *,
        url: str | None = None,
    ) -> None:
        self.server = server
        self.homes = [copy_of(prepared, directory / name) for name in names]
        self.database = server.new_database()
        _copy(f"sqlite:///{self.homes[0].path}/store.sqlite", server.url(self.database, OWNER))
        self._signed_before = len((self.homes[0].path / "hsm" / "log").read_bytes())
        told = url or server.url(self.database, WRITER)
        for home in self.homes:
            (home.path / "store.sqlite").unlink()
            with (home.path / "sealmint.toml").open("a") as file:
                file.write(f'\n[store]\nurl = "{told.format(database=self.database)}"\n')

    def number(self, question: str) -> int:
        """Ask the record for one number, as its administrator."""
        return int(str(self.server.administer(question, self.database)[0][0]))

    def state(self) -> str:
        return str(self.server.administer("SELECT state FROM run WHERE id = 1", self.database)[0][0])

    def has_units(self, home: PreparedHome) -> bool:
        """Whether a home has reserved units in hand."""
        held = f"SELECT count(*) FROM work_unit WHERE state = 'reserved' AND holder LIKE '%{home.path}:%'"
        return self.number(held) > 0

    def end_leases(self, home: PreparedHome) -> None:
        """Let the time of what a home holds be over, as it would be after two minutes without a heartbeat."""
        self.server.administer(
            f"UPDATE work_unit SET lease_until = 0 WHERE holder LIKE '%{home.path}:%'",
            self.database,
        )

    def assert_accounted_for(self) -> None:
        """Every certificate is there once, and all that every token signed has its place in the record."""
        home = self.homes[0]
        _copy(self.server.url(self.database, OWNER), f"sqlite:///{home.path}/store.sqlite")
        with (home.path / "hsm" / "log").open("ab") as log:
            for other in self.homes[1:]:
                log.write((other.path / "hsm" / "log").read_bytes()[self._signed_before :])
        assert_accounted_for(home.path, issued=CERTIFICATES)
        assert self.number("SELECT count(*) FROM audit_record WHERE event = 'run.completed'") == 1
        assert self.number("SELECT count(*) FROM reservation") == CERTIFICATES


def _copy(source: str, target: str) -> None:
    with closing(open_store(source, must_exist=True)) as old, closing(open_store(target)) as new:
        copy_store(old, new)


def start(home: PreparedHome, *before: str, workers: int = 1) -> subprocess.Popen[bytes]:
    """Start the run in a home, after the words of another command where there are any."""
    arguments = ("run", "start", "1", "--workers", str(workers), "--home", home.path, "--json")
    return subprocess.Popen(
        [*before, *command(*arguments)],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait for a run that is good."""
    out, err = process.communicate(timeout=SAFETY_NET)
    assert process.returncode == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def wait_for_worker(process: subprocess.Popen[bytes]) -> int:
    """Wait until a supervisor has a worker, and return its number."""
    assert wait_until(lambda: bool(workers_of(process)), process)
    (worker, *_) = workers_of(process)
    assert WORKING in command_line(worker)
    return worker
