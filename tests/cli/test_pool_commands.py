"""`sealmint pool` against a live signer that goes on answering while its sessions change."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from cryptography.x509 import ocsp

from engine.errors import HomeUnusable, InputRejected
from engine.x509.ocsp_response import ResponseStatus, error_response
from tests.cli.prepared_home import PreparedHome, copy_of, run_here, wait_until
from tests.control.test_control_socket import leave_behind
from tests.responders.test_live_signer import (
    ask,
    issued,
    listening,
    live_signer,
    question,
    serials_of,
    settings_of,
)

__all__ = ["issued"]

TRY_LATER = error_response(ResponseStatus.TRY_LATER)


class Steered:
    """A home whose live signer runs."""

    def __init__(self, home: PreparedHome, pid: int) -> None:
        self.home = home
        self.pid = pid
        self.asked = 0

    def pool(self, *arguments: object, code: int = 0) -> Any:
        """Run `sealmint pool`; return what it answered."""
        answer = self.home.look("pool", *arguments, code=code)
        return answer.json if code == 0 else answer.error

    def signer(self) -> dict[str, Any]:
        """What `pool status` says of the live signer's pool."""
        (process,) = self.pool("status")["processes"]
        pool: dict[str, Any] = process["pool"]
        return pool

    def states(self) -> list[str]:
        return sorted(session["state"] for session in self.signer()["sessions"])

    def answers(self, count: int = 4) -> list[bytes]:
        """Ask for live answers, each with a nonce of its own."""
        serials = serials_of(self.home)[:count]
        self.asked += 1
        value = self.asked.to_bytes(32, "big")
        return trio.run(
            ask, settings_of(self.home), *(question(self.home, one, value=value) for one in serials)
        )

    def answers_well(self) -> bool:
        statuses = {ocsp.load_der_ocsp_response(one).response_status for one in self.answers()}
        return statuses == {ocsp.OCSPResponseStatus.SUCCESSFUL}

    def changes(self) -> list[dict[str, Any]]:
        rows = self.home.query(
            "SELECT actor, body FROM audit_record WHERE event = 'pool.changed' ORDER BY sequence"
        )
        return [{"actor": actor, **json.loads(body)} for actor, body in rows]


@pytest.fixture(scope="module")
def steered(issued: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    """One live signer for all; each test leaves it with two sessions."""
    home = copy_of(issued, tmp_path_factory.mktemp("steered") / "copy")
    with live_signer(home) as process:
        listening(home, process)
        yield Steered(home, process.pid)


def wait(condition: Any) -> None:
    """Wait until it is so: sessions come and go by and by."""
    assert wait_until(condition)


@pytest.mark.cps("4.5.1")
def test_sessions_come_and_go_while_it_answers(steered: Steered) -> None:
    before = len(steered.changes())
    assert steered.answers_well()
    (process,) = steered.pool("status")["processes"]
    assert (process["process"], process["pid"], process["pool"]["size"]) == ("live-signer", steered.pid, 2)
    assert process["pool"]["lanes"]["live"]["done"] >= 4
    for sessions in (4, 1, 2):
        (told,) = steered.pool("resize", "--process", "live-signer", "--sessions", sessions)["processes"]
        assert (told["process"], told["size"]) == ("live-signer", sessions)
        assert steered.answers_well()
        wait(lambda expected=sessions: len(steered.states()) == expected)
        assert steered.answers_well()
    recorded = steered.changes()[before:]
    assert [(one["from"], one["to"]) for one in recorded] == [(2, 4), (4, 1), (1, 2)]
    assert {(one["actor"], one["process"]) for one in recorded} == {("process live-signer", "live-signer")}
    assert all(one["asked_by"].startswith("account ") for one in recorded)


def test_a_session_is_set_apart_and_another_takes_its_place(steered: Steered) -> None:
    number = steered.signer()["sessions"][0]["number"]
    steered.pool("quarantine", "--process", "live-signer", "--session", number)
    wait(lambda: steered.states() == ["idle", "idle", "quarantined"])
    calls = {one["number"]: one["calls"] for one in steered.signer()["sessions"]}
    assert steered.answers_well()
    after = {one["number"]: one["calls"] for one in steered.signer()["sessions"]}
    assert after[number] == calls[number]
    assert sum(after.values()) > sum(calls.values())
    steered.pool("quarantine", "--process", "live-signer", "--session", number, "--release")
    wait(lambda: steered.states() == ["idle", "idle"])
    error = steered.pool(
        "quarantine", "--process", "live-signer", "--session", 999, code=InputRejected.exit_code
    )
    assert error["error"] == "InputRejected"
    assert "999" in error["message"]


def test_a_drained_signer_waits_and_goes_on(steered: Steered) -> None:
    steered.pool("drain", "--all")
    wait(lambda: steered.states() == [])
    assert set(steered.answers()) == {TRY_LATER}
    assert steered.signer()["drained"] is True
    steered.pool("drain", "--all", "--undo")
    wait(lambda: steered.states() == ["idle", "idle"])
    assert steered.answers_well()
    assert [one["change"] for one in steered.changes()[-2:]] == ["drain", "undrain"]


def test_calls_in_flight_are_bounded_for_all_processes(steered: Steered) -> None:
    assert steered.pool("resize", "--parallel", 3) == {"parallel": 3, "pools": 1}
    wait(lambda: steered.pool("status")["arbiter"]["parallel"] == 3)
    assert steered.answers_well()
    steered.pool("resize", "--parallel", 0)
    wait(lambda: steered.pool("status")["arbiter"]["parallel"] != 3)
    assert [(one["change"], one["to"]) for one in steered.changes()[-2:]] == [
        ("parallel", 3),
        ("parallel", None),
    ]
    assert {one["actor"].partition(" ")[0] for one in steered.changes()[-2:]} == {"account"}


@pytest.mark.cps("4.5.6")
def test_without_a_record_nothing_changes(steered: Steered) -> None:
    home = steered.home
    home.change("CREATE TRIGGER full BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'full'); END")
    try:
        answer = home.look("pool", "resize", "--all", "--sessions", 7, code=9)
        assert answer.error["error"] in {"AuditFailed", "StoreError"}
        home.look("pool", "resize", "--parallel", 7, code=9)
    finally:
        home.change("DROP TRIGGER full")
    assert (steered.signer()["size"], steered.pool("status")["arbiter"]["parallel"]) == (2, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("resize", "--sessions", "3"),
        ("resize", "--sessions", "3", "--all", "--process", "live-signer"),
        ("resize", "--all"),
        ("resize", "--all", "--sessions", "3", "--parallel", "3"),
        ("resize", "--all", "--parallel", "3"),
        ("resize", "--process", "web", "--sessions", "3"),
        ("drain",),
        ("drain", "--process", "no-such-process"),
        ("quarantine", "--process", "web", "--session", "1"),
    ],
    ids=" ".join,
)
def test_what_is_not_clear_changes_nothing(steered: Steered, arguments: tuple[str, ...]) -> None:
    before = len(steered.changes())
    steered.pool(*arguments, code=InputRejected.exit_code)
    assert len(steered.changes()) == before


def test_people_see_tables(steered: Steered) -> None:
    assert steered.answers_well()
    answer = run_here("pool", "status", "--once", "--home", steered.home.path)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    for title in ("PROCESSES", "TOKEN", "LANES", "SESSIONS"):
        assert any(line.startswith(title) for line in lines), answer.out
    (process,) = [line for line in lines if line.startswith(f"live-signer  {steered.pid}")]
    assert "2/2" in process
    assert any(line.startswith("live-signer") and " live " in line for line in lines)
    told = run_here("pool", "resize", "--all", "--sessions", 2, "--home", steered.home.path)
    assert told.out.startswith("live-signer: 2 sessions wanted")


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("resize", "--all", "--sessions", "3"), ("resize", "--parallel", "3"), ("drain", "--all")],
)
def test_where_nothing_runs_it_is_said(home: PreparedHome, arguments: tuple[str, ...]) -> None:
    answer = home.look("pool", *arguments, code=HomeUnusable.exit_code)
    assert "running" in answer.error["message"]
    assert home.number("SELECT count(*) FROM audit_record WHERE event = 'pool.changed'") == 0


def test_what_a_killed_process_left_is_no_process(home: PreparedHome) -> None:
    left = home.path / "run" / "control" / f"live-signer-{os.getppid()}.socket"
    leave_behind(left)
    home.look("pool", "status", code=HomeUnusable.exit_code)
    assert not left.exists()
