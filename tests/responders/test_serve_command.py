"""`sealmint serve` on a real home: every process of it, from the first start to the stop."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cli.prepared_home import ROOT, PreparedHome, command, environment, wait_until
from tests.processes import children_of, command_line

ANSWERING = ("responders.listener_process", "responders.web_process")
SIGNING = (
    "engine.status.pre_signer",
    "engine.status.crl_publisher",
    "engine.status.token_watch",
    "responders.live_signer",
)


@contextmanager
def serving(home: PreparedHome, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """Run the command until the block ends; yield it with what it said."""
    addresses = ("--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    started = command("serve", "--home", home.path, *addresses, *options, "--json")
    with subprocess.Popen(
        started, env=environment(**home.told), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()


def ask(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def modules_of(pid: int) -> dict[Path, str]:
    """The processes that a process has started: directory in /proc, and module."""
    found = {}
    for child in children_of(pid):
        words = command_line(child).decode().split("\0")
        found[Path("/proc") / str(child)] = words[words.index("-m") + 1]
    return found


def test_everything_is_started_answers_and_stops(home: PreparedHome) -> None:
    with serving(home, "--processes", "2") as (process, said):
        assert said["pid"] == process.pid
        assert ask(said["http"], "/healthz") == (200, b"alive\n")
        assert wait_until(lambda: ask(said["http"], "/readyz")[0] == 200, process)
        assert ask(said["ocsp"], "/MFEw") == (200, b"\x30\x03\x0a\x01\x01")  # malformedRequest
        assert ask(said["http"], "/MFEw") == (200, b"\x30\x03\x0a\x01\x01")
        children = modules_of(process.pid)
        assert set(children.values()) == {*ANSWERING, *SIGNING, "engine.status.follower"}
        assert list(children.values()).count(ANSWERING[0]) == 2
        refused = home.look("serve", code=5)
        assert "another process is at work" in refused.error["message"]
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not any(child.exists() for child in children)


def test_killed_it_takes_its_processes_along(home: PreparedHome) -> None:
    with serving(home, "--processes", "1", "--without-signers") as (process, _):
        children = modules_of(process.pid)
        assert sorted(children.values()) == sorted((*ANSWERING, "engine.status.follower"))
        process.kill()
        process.wait()
        assert wait_until(lambda: not any(child.exists() for child in children))


def test_a_wrong_address_or_home_is_told_at_once(home: PreparedHome) -> None:
    wrong = home.look("serve", "--ocsp", "nowhere", code=3)
    assert wrong.error["value"] == "nowhere"
    (home.path / "certificates" / "ca.der").unlink()
    assert home.look("serve", code=5).error["error"] == "HomeUnusable"
