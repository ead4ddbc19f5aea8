"""Runs from the outside, over the pretend HSM: paused, aborted, retried, and asked from another process.

Where a run must be caught at work, its first signature is held back until everything is in place.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.prepared_home import (
    CERTIFICATES,
    COMPANIES,
    SAFETY_NET,
    UNIT,
    PreparedHome,
    command,
    environment,
    kill,
    plan,
    wait_until,
    workers_of,
)
from tests.issuance.signature_account import assert_accounted_for

DATA_INVALID = 0x20
IN_HAND = 4 * UNIT
"""The most items in hand when a run is asked to stop: a unit prepared, one waiting, one signed, one being finished."""


@contextmanager
def held_back(home: PreparedHome) -> Iterator[subprocess.Popen[bytes]]:
    """Run 1 at work with one worker, whose first signature comes back when the block ends."""
    held = home.hsm.hang_next("C_Sign")
    process = home.start("run", "start", 1, "--workers", 1, "--sessions", 1)
    assert wait_until(lambda: home.hsm.hanging() > 0, process)
    yield process
    home.hsm.disarm(held)


def issued(home: PreparedHome) -> int:
    return home.number("SELECT count(*) FROM signature")


def test_pause_from_another_process_finishes_the_units_in_hand_and_resume_the_rest(
    home: PreparedHome,
) -> None:
    with held_back(home) as process:
        assert home.sealmint("run", "pause", 1).json == {"run": "1", "state": "pausing"}
    assert process.wait(SAFETY_NET) == 130
    assert home.state() == "paused"
    done = issued(home)
    assert 0 < done <= IN_HAND
    assert home.number("SELECT count(*) FROM reservation") == done, "something reserved was left lying"
    assert_accounted_for(home.path, issued=done)
    document = home.sealmint("run", "resume", 1).json
    assert (document["state"], document["issued"]) == ("completed", CERTIFICATES)
    assert_accounted_for(home.path, issued=CERTIFICATES)


def test_ctrl_c_pauses(home: PreparedHome, tmp_path: Path) -> None:
    said = tmp_path / "said"
    held = home.hsm.hang_next("C_Sign")
    with said.open("wb") as errors:
        process = subprocess.Popen(
            command("run", "start", 1, "--workers", 1, "--home", home.path),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    assert wait_until(lambda: home.hsm.hanging() > 0, process)
    process.send_signal(signal.SIGINT)
    assert wait_until(lambda: b"stopping" in said.read_bytes(), process)
    home.hsm.disarm(held)
    assert process.wait(SAFETY_NET) == 130
    assert home.state() == "paused"
    assert 0 < issued(home) <= IN_HAND
    assert b"sealmint run start 1" in said.read_bytes()


def test_pause_when_nobody_is_at_work(home: PreparedHome) -> None:
    assert home.sealmint("run", "pause", 1).json == {"run": "1", "state": "paused"}
    ((reason,),) = home.query("SELECT state_reason FROM run")
    assert reason == "nobody was at work"


def test_two_processes_do_not_work_on_one_run(home: PreparedHome) -> None:
    with held_back(home) as process:
        second = home.sealmint("run", "start", 1, code=5)
        assert second.error["error"] == "HomeUnusable"
        assert str(process.pid) in second.error["value"]
    assert process.wait(SAFETY_NET) == 0


def test_abort_completes_what_is_reserved_and_gives_the_rest_back(home: PreparedHome) -> None:
    with held_back(home) as process:
        assert home.sealmint("run", "abort", 1).json == {"run": "1", "state": "aborting"}
    assert process.wait(SAFETY_NET) == 0
    status = home.look("run", "status", 1).json
    assert status["state"] == "aborted"
    assert 0 < status["issued"] <= IN_HAND
    assert status["issued"] + status["aborted"] == CERTIFICATES
    assert (status["pending"], status["failed"]) == (0, 0)
    assert status["manifest_sha256"] is not None
    assert_accounted_for(home.path, issued=status["issued"])
    holders = home.number(
        "SELECT count(DISTINCT card_id) FROM signature JOIN item ON item.id = signature.item_id"
    )
    again = plan(home).json
    assert (again["already_held"], again["items"]) == (holders, 2 * (COMPANIES - holders))


def test_abort_of_a_run_that_was_killed_completes_what_is_reserved(home: PreparedHome) -> None:
    with held_back(home) as process:
        victims = [process.pid, *workers_of(process)]
        assert all(kill(victim) for victim in victims)
        process.wait(SAFETY_NET)
    reserved = home.number("SELECT count(*) FROM reservation")
    assert reserved > 0
    assert issued(home) == 0
    document = home.sealmint("run", "abort", 1).json
    assert (document["state"], document["issued"]) == ("aborted", reserved)
    account = assert_accounted_for(home.path, issued=reserved)
    assert len(account.certificates) == reserved
    assert home.sealmint("run", "abort", 1, code=12).error["error"] == "RunStateConflict"
    assert home.sealmint("run", "start", 1, code=12).error["error"] == "RunStateConflict"


def test_failed_items_only_are_tried_again_with_their_stored_tbs(home: PreparedHome) -> None:
    """The fault also meets the signature that closes the run, which is then closed by the next start."""
    home.hsm.fail_next("C_Sign", DATA_INVALID, 3)
    first = home.sealmint("run", "start", 1, "--workers", 1, "--sessions", 1, code=20).json
    assert (first["state"], first["failed"], first["pending"]) == ("paused", 3, 0)
    assert "could not be closed" in first["reason"]
    reserved = set(home.query("SELECT item_id, serial, tbs FROM reservation"))
    assert len(reserved) == CERTIFICATES
    home.hsm.reset()
    closed = home.sealmint("run", "start", 1, code=20).json
    assert (closed["state"], closed["issued"], closed["failed"]) == ("completed", CERTIFICATES - 3, 3)
    failures = home.look("run", "report", 1).json["files"][2]
    assert len(Path(failures).read_text().splitlines()) == 1 + 3
    before = home.log_lines
    retried = home.sealmint("run", "retry", 1).json
    assert (retried["state"], retried["issued"], retried["failed"]) == ("completed", CERTIFICATES, 0)
    assert retried["issued_now"] == 3
    assert home.log_lines == before + 3 + 2, "three certificates, the manifest and the checkpoint"
    assert reserved == set(home.query("SELECT item_id, serial, tbs FROM reservation"))
    assert_accounted_for(home.path, issued=CERTIFICATES)
    assert home.sealmint("run", "retry", 1).json["issued"] == CERTIFICATES


@pytest.mark.cps("4.6.5")
def test_a_clock_before_the_newest_record_stops_everything(home: PreparedHome) -> None:
    before = home.log_lines
    home.change("UPDATE audit_head SET recorded_at = recorded_at + ?", 3_600_000_000)
    answer = home.sealmint("run", "start", 1, code=11)
    assert answer.error["error"] == "ClockWrong"
    assert home.state() == "planned"
    assert home.log_lines == before
    assert issued(home) == 0


@pytest.mark.cps("2.8.1")
@pytest.mark.cps("6.4.1")
def test_the_pin_is_seen_nowhere(home: PreparedHome) -> None:
    pin = (home.path / "secrets" / "token-pin").read_bytes()
    with held_back(home) as process:
        for seen in (process.pid, *workers_of(process)):
            for name in ("cmdline", "environ"):
                assert pin not in Path(f"/proc/{seen}/{name}").read_bytes()
            limits = Path(f"/proc/{seen}/limits").read_text().splitlines()
            (cores,) = [line.split() for line in limits if line.startswith("Max core file size")]
            assert cores[4:6] == ["0", "0"]
    assert process.wait(SAFETY_NET) == 0
    home.look("run", "report", 1)
    files = [path for path in home.path.rglob("*") if path.is_file() and "secrets" not in path.parts]
    assert len(files) > 20
    assert [path for path in files if pin in path.read_bytes()] == []


@pytest.mark.cps("4.5.6")
def test_without_an_audit_record_nothing_is_issued_and_then_it_goes_on_by_itself(home: PreparedHome) -> None:
    home.change(
        "CREATE TRIGGER no_audit BEFORE INSERT ON audit_record WHEN NEW.event = 'unit.completed'"
        " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    with home.start("run", "start", 1, "--workers", 1) as process:
        waiting = "waiting for the record:%audit record could not be written%"
        said = f"SELECT count(*) FROM run WHERE state_reason LIKE '{waiting}'"
        assert wait_until(lambda: home.number(said) == 1, process)
        assert home.state() == "running"
        assert issued(home) == 0
        home.change("DROP TRIGGER no_audit")
        assert process.wait(SAFETY_NET) == 0
    assert home.state() == "completed"
    account = assert_accounted_for(home.path, issued=CERTIFICATES)
    assert account.signed_again > 0
