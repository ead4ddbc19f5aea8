"""Homes with one record work one run off together: one closes it, and whoever falls out is replaced by the rest."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.cli.prepared_home import CERTIFICATES, PreparedHome, kill, wait_until, workers_of
from tests.hosts.shared_record import SharedRecord, outcome, start, wait_for_worker
from tests.postgresql_server import PostgresqlServer, running_server

HELD_BACK = 50_000
"""Microseconds by which each signature takes longer: a run of 120 then takes some seconds."""


def test_two_homes_work_off_one_run(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    shared = SharedRecord(prepared, postgresql, tmp_path, ["one", "two"])
    for home in shared.homes:
        home.hsm.latency("C_Sign", HELD_BACK)
    outcomes = [outcome(process) for process in [start(home) for home in shared.homes]]
    assert [one["state"] for one in outcomes] == ["completed"] * 2
    assert sum(one["issued_now"] for one in outcomes) == CERTIFICATES
    assert sorted(one["left_to_another_home"] for one in outcomes) == [False, True]
    shared.assert_accounted_for()


def test_a_worker_that_was_stopped_and_wakes_up_doubles_nothing(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """Stopped in the middle of a unit, for longer than its lease: another home has it completed by then."""
    shared = SharedRecord(prepared, postgresql, tmp_path, ["sleeper", "other"])
    sleeper, other = shared.homes
    sleeper.hsm.latency("C_Sign", HELD_BACK)
    with start(sleeper) as sleeping:
        worker = wait_for_worker(sleeping)
        assert wait_until(lambda: shared.has_units(sleeper), sleeping)
        for process in (sleeping.pid, worker):
            os.kill(process, signal.SIGSTOP)
        shared.end_leases(sleeper)
        try:
            assert outcome(start(other))["state"] == "completed"
        finally:
            for process in (worker, sleeping.pid):
                os.kill(process, signal.SIGCONT)
        woken = outcome(sleeping)
    assert (woken["state"], woken["left_to_another_home"]) == ("completed", True)
    assert shared.number("SELECT count(*) FROM work_unit WHERE fence > 1") > 0
    shared.assert_accounted_for()


def test_a_home_that_is_killed_leaves_its_units_to_the_other(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    shared = SharedRecord(prepared, postgresql, tmp_path, ["killed", "other"])
    killed, other = shared.homes
    for home in shared.homes:
        home.hsm.latency("C_Sign", HELD_BACK)
    with start(killed) as dying, start(other) as staying:
        worker = wait_for_worker(dying)
        assert wait_until(lambda: shared.has_units(killed), dying)
        assert kill(dying.pid)
        kill(worker)
        shared.end_leases(killed)
        assert outcome(staying)["state"] == "completed"
    shared.assert_accounted_for()


def test_a_run_waits_for_a_record_that_is_away(prepared: PreparedHome, tmp_path: Path) -> None:
    """The server crashes in the middle of a run and comes back: the run goes on by itself."""
    with running_server() as server:
        shared = SharedRecord(prepared, server, tmp_path, ["one"])
        (home,) = shared.homes
        home.hsm.latency("C_Sign", HELD_BACK)
        with start(home) as process:
            issued = "SELECT count(*) FROM signature"
            assert wait_until(lambda: shared.number(issued) > 0, process)
            server.stop(signal.SIGQUIT)
            signatures = home.log_lines
            assert wait_until(
                lambda: not workers_of(process), process
            )  # it met the record that is away, and ended
            server.start()
            done = outcome(process)
        assert done["state"] == "completed"
        assert 0 < signatures < home.log_lines
        shared.assert_accounted_for()
