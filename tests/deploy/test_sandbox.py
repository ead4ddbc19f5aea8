"""The services' commands do their work under what their units forbid."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.prepared_home import ROOT, PreparedHome, command, environment, wait_until
from tests.deploy import sandboxed
from tests.deploy.sandboxed import in_sandbox
from tests.responders.test_serve_command import ask

pytestmark = [
    pytest.mark.cps("6.5.1"),
    pytest.mark.skipif(sandboxed.why_not() is not None, reason=sandboxed.why_not() or ""),
]

FORBIDDEN = """
import ctypes, mmap, os, socket

def fails(act, *arguments, **options):
    try:
        act(*arguments, **options)
    except OSError as error:
        return error.errno

print(*(fails(*act[:-1], **act[-1]) for act in [
    (os.chroot, "/", {}),
    (os.nice, 1, {}),
    (socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, {}),
    (mmap.mmap, -1, 4096, {"prot": mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC}),
    (socket.socket, socket.AF_UNIX, {}),
]))
"""


def test_the_sandbox_holds() -> None:
    """EPERM for calls, EAFNOSUPPORT for families, EACCES for code made at run time; the rest goes on."""
    looked = in_sandbox("sealmint-serve.service", sys.executable, "-P", "-c", FORBIDDEN)
    done = subprocess.run(looked, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "97", "13", "None"]


def test_the_authority_serves(home: PreparedHome) -> None:
    said, log = _served(home, "sealmint-serve.service")
    assert said == [200, 200]
    assert not [line for line in log if line["event"] in {"died", "given-up", "not-replaced"}], log


def _served(home: PreparedHome, unit: str) -> tuple[list[int], list[dict[str, Any]]]:
    """Start `serve` in the unit's sandbox, stop it; return what health and readiness said, and the log."""
    addresses = ("--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    started = in_sandbox(
        unit, *command("serve", "--home", home.path, "--processes", "1", *addresses, "--json")
    )
    log_file = home.directory / "log"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(started, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        wait_until(lambda: ask(said["http"], "/readyz")[0] == 200, process)
        states = [ask(said["http"], path)[0] for path in ("/healthz", "/readyz")]
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    return states, [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]


def test_the_end_of_the_audit_chain_is_signed(home: PreparedHome) -> None:
    checkpoint = command("audit", "checkpoint", "--home", home.path, "--json")
    done = subprocess.run(
        in_sandbox("sealmint-audit-checkpoint.service", *checkpoint),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sequence"] > 0


def test_the_feed_is_served(home: PreparedHome) -> None:
    serve = command("feed", "serve", "--home", home.path, "--listen", "127.0.0.1:0", "--json")
    with subprocess.Popen(
        in_sandbox("sealmint-feed.service", *serve),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    assert line, said
    assert process.returncode == 0
    assert b'"died"' not in said
