"""A home behind the pretend HSM with a planned run, made once a test session and copied for every test.

The configuration says `{home}`, so of all files only SoftHSM's own configuration names the place and is written anew.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from engine.cli import main
from tests.hsm_shim import HsmShim, build
from tests.processes import children_of, command_line
from tests.softhsm import SOFTHSM

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "engine" / "register" / "samples" / "listed-companies.jsonl"
COMPANIES = 60
UNIT = 8
CERTIFICATES = 2 * COMPANIES
UNITS = CERTIFICATES // UNIT

POLICY = f"""
name = "small"
legal_basis = "MOEACA CPS 4.2.1.2"
crl_partition_size = 50
work_unit_size = {UNIT}

[eligibility]
kinds = ["company"]
states = ["核准設立"]

[[cards]]
rank = "primary"
"""

SAFETY_NET = 300
"""Seconds until a command that hangs is given up. Decides nothing but that."""

_TOLD_BY_TESTS = ("SOFTHSM2_CONF", "HSM_SHIM_", "SEALMINT_")


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: without what this test process told modules of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TOLD_BY_TESTS)}
    return kept | more


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "engine.cli.main", *map(str, arguments)]


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command given with --json: the last line, for the module may have said something before."""
        error: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return error


def run_command(*arguments: object, **more: str) -> Answer:
    """Run a command to its end, as a process."""
    done = subprocess.run(
        command(*arguments),
        env=environment(**more),
        cwd=ROOT,
        capture_output=True,
        timeout=SAFETY_NET,
        check=False,
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: object) -> Answer:
    """Run a command in this process, which is quicker: for those that do not touch the token."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        patch.object(sys, "argv", ["sealmint", *map(str, arguments)]),
        patch.object(main, "harden"),  # this process keeps what it has
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main.main()
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Answer(int(ended.value.code or 0), *texts)


class PreparedHome:
    """A directory with a home, the extract and the card file it was planned from, and the HSM's controls.

    Args:
        directory: what `make_template` made, or a copy of it.

    Attributes:
        told: variables that its processes find in their environment, beside what is usual.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "home"
        self.extract = directory / "extract.jsonl"
        self.cards = directory / "cards"
        self.policy = directory / "policy.toml"
        self.hsm = HsmShim(self.path / "hsm", SOFTHSM)
        self.told: dict[str, str] = {}

    def sealmint(self, *arguments: object, code: int = 0) -> Answer:
        """Run a command on the home with --json, as a process, and check its exit code."""
        answer = run_command(*arguments, "--home", self.path, "--json", **self.told)
        assert answer.code == code, (answer.code, answer.out, answer.err)
        return answer

    def look(self, *arguments: object, code: int = 0) -> Answer:
        """As `sealmint`, but in this process: for commands that do not touch the token.

        Where processes are told something, it is a process all the same.
        """
        if self.told:
            return self.sealmint(*arguments, code=code)
        answer = run_here(*arguments, "--home", self.path, "--json")
        assert answer.code == code, (answer.code, answer.out, answer.err)
        return answer

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a command on the home with --json and leave it running; its output is not read."""
        return subprocess.Popen(
            command(*arguments, "--home", self.path, "--json"),
            env=environment(**self.told),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from the store."""
        with closing(sqlite3.connect(self.path / "store.sqlite", timeout=60)) as connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: object) -> None:
        """Write to the store behind the program's back."""
        with closing(sqlite3.connect(self.path / "store.sqlite", timeout=60)) as connection, connection:
            connection.execute(statement, values)

    def number(self, statement: str, *values: object) -> int:
        """Read one number from the store."""
        return int(self.query(statement, *values)[0][0])

    def state(self, run: int = 1) -> str:
        return str(self.query("SELECT state FROM run WHERE id = ?", run)[0][0])

    def configure(self, old: str, new: str) -> None:
        """Change the configuration file."""
        path = self.path / "sealmint.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @property
    def log_lines(self) -> int:
        """How many signatures the HSM made so far."""
        return sum(
            line.startswith(b"SIGN ") for line in (self.path / "hsm" / "log").read_bytes().splitlines()
        )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> bool:
    """Look again and again until something is so; False when the process ended before it was."""
    bound = time.monotonic() + SAFETY_NET
    while not condition():
        if process is not None and process.poll() is not None:
            return condition()
        assert time.monotonic() < bound, "waited in vain"
        time.sleep(0.002)
    return True


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The worker processes of a supervisor."""
    return [child for child in children_of(process.pid) if b"engine.issuance.worker" in command_line(child)]


def kill(process: int) -> bool:
    """Send SIGKILL; whether there was anything to kill."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def make_template(directory: Path) -> PreparedHome:
    """Initialise a home behind the pretend HSM, make card keys and plan run 1."""
    directory.mkdir()
    library = build(ROOT / "build" / "libhsm_shim.so")
    home = PreparedHome(directory)
    told = home.hsm.environment | {"SEALMINT_PKCS11_MODULE": str(library)}
    answer = run_command("init", "--home", home.path, "--json", **told)
    assert answer.code == 0, answer.err
    lines = [
        f'HSM_SHIM_MODULE = "{SOFTHSM}"',
        'HSM_SHIM_CONTROL = "{home}/hsm/control"',
        'HSM_SHIM_LOG = "{home}/hsm/log"',
    ]
    home.configure("[token]\n", "[token]\ncall_timeout = 240\n")  # a call held back on purpose is not stuck
    with (home.path / "sealmint.toml").open("a") as file:  # its last section is the token's environment
        file.write("\n".join(lines) + "\n")
    home.extract.write_text("".join(sample_rows(0, COMPANIES)))
    home.policy.write_text(POLICY)
    simulate = ("card-centre", "simulate", "--register", home.extract, "--out", home.cards, "--synthetic")
    assert home.sealmint(*simulate).json["cards"] == COMPANIES
    assert plan(home).json["items"] == CERTIFICATES
    return home


def plan(home: PreparedHome) -> Answer:
    """Plan a run from the home's extract, card file and policy."""
    return home.sealmint(
        "run", "plan", "--register", home.extract, "--card-keys", home.cards, "--policy", home.policy
    )


def sample_rows(first: int, last: int) -> Iterator[str]:
    with SAMPLE.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if first <= number < last:
                yield line


def copy_of(template: PreparedHome, directory: Path) -> PreparedHome:
    """Copy a prepared home for a test to spoil."""
    shutil.copytree(template.directory, directory)
    home = PreparedHome(directory)
    configuration = home.path / "token" / "softhsm2.conf"
    configuration.write_text(configuration.read_text().replace(str(template.path), str(home.path)))
    return home
