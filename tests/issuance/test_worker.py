"""A worker process by itself, spoken to over its pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from pydantic import SecretStr

from engine.clock import TAIPEI
from engine.issuance import worker
from engine.issuance.supervisor import WORKER_COMMAND
from engine.issuance.worker_messages import Start, encode_start
from tests.cli.prepared_home import (
    CERTIFICATES,
    ROOT,
    SAFETY_NET,
    UNIT,
    PreparedHome,
    environment,
    wait_until,
)
from tests.issuance.signature_account import assert_accounted_for


def start_worker(home: PreparedHome, *, draining: bool = False) -> subprocess.Popen[bytes]:
    """Start a worker on run 1 and tell it what to do."""
    home.change("UPDATE run SET state = ?", "aborting" if draining else "running")
    process = silent_worker()
    pin = (home.path / "secrets" / "token-pin").read_text()
    start = Start(
        home=str(home.path),
        run_id=1,
        holder="test:0000001",
        sessions=1,
        workers=1,
        draining=draining,
        pin=SecretStr(pin),
    )
    assert process.stdin is not None
    process.stdin.write(encode_start(start))
    process.stdin.flush()
    return process


def silent_worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, *WORKER_COMMAND[1:]]
    return subprocess.Popen(
        command,
        env=environment(),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def messages(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """What the worker says until it ends."""
    out, errors = process.communicate(timeout=SAFETY_NET)
    assert errors == b""
    return [json.loads(line) for line in out.splitlines()]


def test_a_worker_says_what_it_does(home: PreparedHome) -> None:
    process = start_worker(home)
    assert process.stdout is not None
    said = [json.loads(line) for line in process.stdout]
    process.communicate(timeout=SAFETY_NET)
    assert [message["message"] for message in said] == [
        "ready",
        *["unit-done"] * (CERTIFICATES // UNIT),
        "finished",
    ]
    assert sum(message.get("issued", 0) for message in said) == CERTIFICATES
    assert process.returncode == 0
    assert_accounted_for(home.path, issued=CERTIFICATES)


def test_without_a_supervisor_the_units_in_hand_are_finished(home: PreparedHome) -> None:
    held = home.hsm.hang_next("C_Sign")
    with start_worker(home) as process:
        assert wait_until(lambda: home.hsm.hanging() > 0, process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        home.hsm.disarm(held)
        assert process.wait(SAFETY_NET) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    issued = home.number("SELECT count(*) FROM signature")
    assert 0 < issued < CERTIFICATES
    assert home.number("SELECT count(*) FROM reservation") == issued
    assert_accounted_for(home.path, issued=issued)


def test_a_supervisor_gone_before_it_said_anything() -> None:
    process = silent_worker()
    assert messages(process) == []
    assert process.returncode == 0


def test_what_cannot_be_read_is_not_shown() -> None:
    """It may hold the PIN."""
    process = silent_worker()
    out, errors = process.communicate(b'{"pin":"271828","home":1}\n', timeout=SAFETY_NET)
    assert process.returncode == 1
    assert b"271828" not in out + errors


def test_a_run_being_aborted_reserves_nothing_new(home: PreparedHome) -> None:
    process = start_worker(home, draining=True)
    assert process.stdout is not None
    said = [json.loads(line)["message"] for line in process.stdout]
    process.communicate(timeout=SAFETY_NET)
    assert said == ["ready", "finished"]
    assert home.number("SELECT count(*) FROM reservation") == 0


def test_outside_the_run_window_nothing_is_signed(home: PreparedHome) -> None:
    opens = datetime.now(UTC).astimezone(TAIPEI).replace(microsecond=0) + timedelta(hours=12)
    closes = opens + timedelta(hours=1)
    window = f"run_windows = [{{ opens = {opens:%H:%M:%S}, closes = {closes:%H:%M:%S} }}]\n"
    home.change("UPDATE run SET policy_text = ? || policy_text", window)
    process = start_worker(home)
    assert process.stdout is not None
    ready, waiting = (json.loads(process.stdout.readline()) for _ in range(2))
    assert ready["message"] == "ready"
    assert datetime.fromisoformat(waiting["until"]) == opens
    assert [message["message"] for message in messages(process)] == ["finished"]
    assert home.number("SELECT count(*) FROM reservation") == 0


@pytest.mark.parametrize(("workers", "seconds"), [(1, 1.0), (2, 2.0)])
async def test_a_rate_cap_is_shared_by_the_workers(
    workers: int, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    pace = worker._Pace(100, workers)
    assert pace.delay_after(100) == pytest.approx(seconds)
    await trio.sleep(seconds)
    assert pace.delay_after(50) == pytest.approx(seconds / 2)
    assert worker._Pace(None, workers).delay_after(1_000_000) == 0
