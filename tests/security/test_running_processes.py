"""Processes of a run, `serve`, the feed and the operator's page: closed memory, files for their owner, no secret told.

Everything is started once, under a umask that forbids nothing and without the privilege of looking into others, which a
root account would have.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.prepared_home import (
    ROOT,
    PreparedHome,
    command,
    copy_of,
    environment,
    wait_until,
    workers_of,
)
from tests.operator.served_home import operator_of
from tests.processes import children_of, command_line
from tests.responders.test_serve_command import ask
from tests.security.planted_secrets import found_in, secrets_of

HELD_BACK = 1_000_000
"""Microseconds by which each signature of the run takes longer, so that its processes are there to be looked at."""

ALONE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Takes from root what others do not have: looking into any process, and writing to any file."""

KINDS = {
    "engine.cli.main",
    "engine.issuance.worker",
    "engine.status.follower",
    "engine.status.pre_signer",
    "engine.status.crl_publisher",
    "engine.status.token_watch",
    "responders.live_signer",
    "responders.listener_process",
    "responders.web_process",
    "responders.feed_publisher",
    "responders.feed_front.process",
}


@dataclass
class LookedAt:
    """What was seen of the processes of a host."""

    home: PreparedHome
    out: Path
    kinds: set[str] = field(default_factory=set)
    core_limits: set[str] = field(default_factory=set)
    told: list[bytes] = field(default_factory=list)
    """Environments, arguments, pages and outputs."""
    secrets: dict[str, bytes] = field(default_factory=dict)
    sockets: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Modes of the control sockets and of their directories."""

    def look(self, process: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
        """Wait until processes are closed, as they are soon after their start; then see what they are."""
        assert wait_until(lambda: not readable(pids), process)
        for pid in pids:
            words = command_line(pid).decode().split("\0")
            self.kinds.add(words[words.index("-m") + 1])
            self.told.append("\0".join(words).encode() + Path(f"/proc/{pid}/environ").read_bytes())
            lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
            self.core_limits |= {line for line in lines if line.startswith("Max core file size")}


def readable(pids: Sequence[int]) -> set[int]:
    """Which processes another process of the same account can look into (proc(5): not the non-dumpable ones)."""
    script = 'for pid; do head -c 1 "/proc/$pid/environ" > /dev/null 2>&1 && echo "$pid"; done; true'
    told = subprocess.run(
        [*ALONE, "sh", "-c", script, "sh", *map(str, pids)], capture_output=True, check=True
    )
    return set(map(int, told.stdout.split()))


@contextmanager
def started(*words: object) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Run a command until the block ends; yield it with what it said when it was ready."""
    with subprocess.Popen(
        [*ALONE, *command(*words, "--json")],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def seen(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LookedAt]:
    home = copy_of(prepared, tmp_path_factory.mktemp("seen") / "copy")
    seen = LookedAt(home, home.directory / "backups")
    before = os.umask(0)
    try:
        look_at_a_run(seen)
        look_at_services(seen)
        for words in (("crl", "publish"), ("backup", "--out", seen.out), ("audit", "verify")):
            answer = home.sealmint(*words)
            seen.told.append((answer.out + answer.err).encode())
    finally:
        os.umask(before)
    yield seen


def look_at_a_run(seen: LookedAt) -> None:
    home = seen.home
    home.hsm.latency("C_Sign", HELD_BACK)
    log = home.directory / "run.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [*ALONE, *command("run", "start", 1, "--home", home.path, "--json")],
            env=environment(),
            cwd=ROOT,
            stdout=said,
            stderr=said,
        ) as run,
    ):
        assert wait_until(lambda: bool(workers_of(run)), run)
        seen.look(run, [run.pid, *workers_of(run)])
        home.hsm.reset()
        assert run.wait() == 0
    seen.told.append(log.read_bytes())


def look_at_services(seen: LookedAt) -> None:
    home = seen.home.path
    serving = ("serve", "--home", home, "--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    with (
        started(*serving) as (serve, said),
        started("feed", "serve", "--home", home, "--listen", "127.0.0.1:0") as (feed, _),
        operator_of(home, within=ALONE) as operator,
    ):
        assert wait_until(lambda: ask(said["http"], "/readyz")[0] == 200, serve)
        for process in (serve, feed, operator.process):
            seen.look(process, [process.pid, *children_of(process.pid)])
        seen.sockets = {
            path.name: (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))
            for path in home.rglob("*")
            if path.is_socket()
        }
        with operator.signed_in() as client:
            seen.told += [client.get(page).content for page in ("/", "/metrics")]
        seen.secrets = secrets_of(home) | {"the operator's token": operator.token.encode()}


def test_whoever_looks_can_look_into_a_process_that_is_not_closed() -> None:
    with subprocess.Popen([*ALONE, "cat"], stdin=subprocess.PIPE) as process:
        assert readable([process.pid]) == {process.pid}


@pytest.mark.cps("6.4.1")
def test_every_kind_of_process_is_closed_and_leaves_no_core(seen: LookedAt) -> None:
    assert seen.kinds == KINDS
    assert {tuple(line.split()[4:6]) for line in seen.core_limits} == {("0", "0")}


@pytest.mark.cps("6.4.1")
def test_no_secret_is_told_or_stands_outside_its_file(seen: LookedAt) -> None:
    assert {"token-pin", "token-so-pin", "card-centre.key", "the operator's token"} <= set(seen.secrets)
    assert all(found_in(one, seen.secrets) == [] for one in seen.told)
    for path in [*seen.home.path.rglob("*"), *seen.out.rglob("*")]:
        if path.is_file() and path.name not in seen.secrets and path.parent.name != "secrets":
            assert found_in(path.read_bytes(), seen.secrets) == [], path


def test_sockets_are_for_the_account(seen: LookedAt) -> None:
    assert seen.sockets
    assert set(seen.sockets.values()) == {(0o600, 0o700)}


def test_nothing_may_be_changed_by_others_and_secrets_not_be_read(seen: LookedAt) -> None:
    """Of what a run, CRLs, a backup and services leave, whatever the umask."""
    paths = [seen.home.path, *seen.home.path.rglob("*"), seen.out, *seen.out.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths if not path.is_symlink()}
    others_write = stat.S_IWGRP | stat.S_IWOTH
    hsm = seen.home.path / "hsm"  # the pretend HSM's own
    opened = {
        path for path, mode in modes.items() if mode & others_write and hsm not in (path, *path.parents)
    }
    assert {path.name for path in opened} <= {
        "lock.mdb"
    }  # a reader of the account's group takes a slot in it
    secret = [path for path in modes if path.is_file() and {"secrets", "token"} & {*path.parts}]
    secret += [seen.home.path / "card-centre" / "card-centre.key"]
    assert {stat.S_IMODE(modes[path]) for path in secret} == {0o600}
    assert not any(mode & 0o077 for path, mode in modes.items() if seen.out in (path, *path.parents))
