"""What a token can do to a run, and what the run makes of it."""

from __future__ import annotations

import signal

import pytest

from tests.cli.prepared_home import CERTIFICATES, SAFETY_NET, PreparedHome, wait_until, workers_of
from tests.issuance.signature_account import assert_accounted_for

FUNCTION_FAILED = 0x06
TOKEN_NOT_PRESENT = 0xE0
DEVICE_REMOVED = 0x32
PIN_INCORRECT = 0xA0

ONE_WORKER = ("run", "start", 1, "--workers", 1, "--sessions")


def lost_workers(home: PreparedHome) -> list[str]:
    rows = home.query("SELECT json_extract(body, '$.why') FROM audit_record WHERE event = 'worker.lost'")
    return [why for (why,) in rows]


def test_an_error_now_and_then_is_tried_again(home: PreparedHome) -> None:
    home.hsm.seed(7)
    home.hsm.fail_one_in("C_Sign", FUNCTION_FAILED, 10)
    document = home.sealmint(*ONE_WORKER, 1).json
    assert (document["issued"], document["failed"], document["workers_lost"]) == (CERTIFICATES, 0, 0)
    account = assert_accounted_for(home.path, issued=CERTIFICATES)
    assert account.signed_again > 0


def test_a_restart_of_the_token_is_healed(home: PreparedHome) -> None:
    held = home.hsm.hang_next("C_Sign")
    process = home.start(*ONE_WORKER, 2)
    assert wait_until(lambda: home.hsm.hanging() > 0, process)
    log_ins = len(home.hsm.calls("C_Login"))
    home.hsm.restart()
    home.hsm.disarm(held)
    assert process.wait(SAFETY_NET) == 0
    assert len(home.hsm.calls("C_Login")) > log_ins
    assert home.look("run", "status", 1).json["failed"] == 0
    assert lost_workers(home) == []
    assert_accounted_for(home.path, issued=CERTIFICATES)


def test_a_session_whose_call_hangs_is_replaced(home: PreparedHome) -> None:
    """The supervisor's own signature hangs too, and is made on another session as well."""
    home.configure("call_timeout = 240", "call_timeout = 2")
    home.hsm.hang_next("C_Sign")
    document = home.sealmint(*ONE_WORKER, 1).json
    assert (document["issued"], document["failed"], document["workers_lost"]) == (CERTIFICATES, 0, 0)
    assert home.hsm.hanging() == 2
    assert_accounted_for(home.path, issued=CERTIFICATES)


def test_a_worker_with_too_many_stuck_sessions_is_replaced(home: PreparedHome) -> None:
    home.configure("call_timeout = 240", "call_timeout = 2\nmax_stuck = 1")
    held = home.hsm.hang_next("C_Sign")
    process = home.start(*ONE_WORKER, 1)
    assert wait_until(lambda: home.hsm.hanging() > 0, process)
    (stuck,) = workers_of(process)
    assert wait_until(lambda: stuck not in workers_of(process), process)
    home.hsm.disarm(held)
    assert process.wait(SAFETY_NET) == 0
    status = home.look("run", "status", 1).json
    assert (status["issued"], status["failed"]) == (CERTIFICATES, 0)
    assert "sessions are stuck" in lost_workers(home)[0]
    assert_accounted_for(home.path, issued=CERTIFICATES)


def waits_for_the_token(home: PreparedHome) -> bool:
    (reason,) = home.query("SELECT state_reason FROM run")[0]
    return reason is not None and "waiting for the token" in reason


def test_a_token_that_is_away_is_waited_for(home: PreparedHome) -> None:
    """The worker keeps its units, says why nothing is signed, and signs the same TBSs when the token is back."""
    gone = home.hsm.fail_one_in("C_Sign", DEVICE_REMOVED, 1)
    process = home.start(*ONE_WORKER, 1)
    assert wait_until(lambda: waits_for_the_token(home), process)
    assert home.state() == "running"
    (worker,) = workers_of(process)
    reserved = home.query("SELECT serial, tbs FROM reservation ORDER BY serial")
    assert reserved
    home.hsm.disarm(gone)
    assert wait_until(lambda: not waits_for_the_token(home), process)
    assert process.wait(SAFETY_NET) == 0
    assert home.state() == "completed"
    assert lost_workers(home) == [], f"worker {worker} was not replaced"
    assert set(reserved) <= set(home.query("SELECT serial, tbs FROM reservation"))
    assert home.number("SELECT count(*) FROM signature") == CERTIFICATES
    assert_accounted_for(home.path, issued=CERTIFICATES)


def test_a_run_that_waits_is_paused_at_once(home: PreparedHome) -> None:
    home.hsm.fail_one_in("C_Sign", DEVICE_REMOVED, 1)
    process = home.start(*ONE_WORKER, 1)
    assert wait_until(lambda: waits_for_the_token(home), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SAFETY_NET) != 0
    assert home.state() == "paused"
    assert home.number("SELECT count(*) FROM signature") == 0
    assert home.number("SELECT count(*) FROM work_unit WHERE holder IS NOT NULL") == 0
    reserved = home.query("SELECT serial, tbs FROM reservation ORDER BY serial")
    home.hsm.reset()
    assert home.sealmint("run", "resume", 1).json["state"] == "completed"
    assert set(reserved) <= set(home.query("SELECT serial, tbs FROM reservation"))
    assert_accounted_for(home.path, issued=CERTIFICATES)


def test_a_token_without_room_gets_fewer_sessions(home: PreparedHome) -> None:
    """Three for the supervisor and two for a worker are the least."""
    home.hsm.cap_sessions(5)
    document = home.sealmint("run", "start", 1, "--workers", 4, "--sessions", 8).json
    assert (document["issued"], document["failed"]) == (CERTIFICATES, 0)
    assert len({signature.process for signature in home.hsm.signatures()}) == 3, (
        "init, a worker, the supervisor"
    )


def test_a_full_token_is_named(home: PreparedHome) -> None:
    home.hsm.cap_sessions(4)
    error = home.sealmint("run", "start", 1, code=12).error
    assert error["value"] == "4"
    assert "at least 5" in error["rule"]
    assert home.state() == "planned"


def test_a_token_that_opens_no_session(home: PreparedHome) -> None:
    home.hsm.fail_one_in("C_OpenSession", TOKEN_NOT_PRESENT, 1)
    error = home.sealmint("run", "start", 1, code=7).error
    assert error["error"] == "SignerUnavailable"
    assert home.state() == "planned"


def test_a_wrong_pin_is_tried_once(home: PreparedHome) -> None:
    (home.path / "secrets" / "token-pin").write_text("000000")
    for command in (("run", "start", 1), ("token", "check")):
        before, signatures = len(home.hsm.calls("C_Login")), home.log_lines
        error = home.sealmint(*command, code=14).error
        assert error["error"] == "PinIncorrect"
        assert "000000" not in str(error)
        assert [call.result for call in home.hsm.calls("C_Login")[before:]] == [PIN_INCORRECT]
        assert home.log_lines == signatures
    assert home.state() == "planned"


@pytest.mark.parametrize("label", ["operations", "of-nobody"], ids=["another key", "no key"])
def test_a_token_without_the_key_of_the_ca_signs_nothing(home: PreparedHome, label: str) -> None:
    home.configure("[token]\n", f'[keys]\nca = "{label}"\n\n[token]\n')
    signatures = home.log_lines
    for command in (("run", "start", 1), ("token", "check")):
        error = home.sealmint(*command, code=7).error
        assert error["error"] == "KeyMismatch"
    assert home.log_lines == signatures
    assert home.state() == "planned"
