"""Backups taken in the middle of a run come back as a record that the independent checker finds in order."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engine.checker.check import check_home
from tests.cli.prepared_home import CERTIFICATES, UNIT, PreparedHome, run_here, wait_until

SIGNED = "SELECT count(*) FROM signature"
SLOWLY = 40_000
"""Microseconds a signature: whoever looks has seconds to stop the run in its middle."""


def stop_in_the_middle(home: PreparedHome, run: subprocess.Popen[bytes], signed: int) -> int:
    """Let the token hang as soon as so many certificates are stored; return the number of the fault."""
    assert wait_until(lambda: home.number(SIGNED) >= signed, run)
    hanging = home.hsm.hanging()
    arm = home.hsm.hang_next("C_Sign")
    assert wait_until(lambda: home.hsm.hanging() > hanging, run)
    return arm


@pytest.mark.cps("4.8.1")
def test_a_full_and_an_incremental_backup_of_a_run_at_work(home: PreparedHome, tmp_path: Path) -> None:
    out = tmp_path / "backups"
    home.hsm.latency("C_Sign", SLOWLY)
    with home.start("run", "start", 1, "--workers", 1, "--sessions", 1) as run:
        arm = stop_in_the_middle(home, run, UNIT)
        full = home.look("backup", "--out", out).json["manifest"]
        home.hsm.disarm(arm)
        arm = stop_in_the_middle(home, run, 3 * UNIT)
        incremental = home.look("backup", "--out", out, "--incremental").json
        home.hsm.reset()
        assert run.wait() == 0
    assert incremental["base"] == full
    issued = []
    for number, manifest in enumerate((full, incremental["manifest"])):
        back = PreparedHome(tmp_path)
        back.path = tmp_path / f"back-{number}"
        done = run_here("restore", "--from", out, "--manifest", manifest, "--home", back.path, "--json")
        assert done.code == 0, done.err
        report = check_home(back.path)
        assert report.ok, report.findings
        assert back.state() == "running"
        issued.append(back.number(SIGNED))
    assert UNIT <= issued[0] < issued[1] < CERTIFICATES
    drilled = run_here("drill", "--from", out, "--json")
    assert drilled.code == 0, drilled.err
    assert drilled.json["check"]["ok"] is True
    assert drilled.json["check"]["counted"]["signature"] == issued[1]
    assert list(drilled.json["seconds"]) == ["repository", "status", "record", "all", "check"]
