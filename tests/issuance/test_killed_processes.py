"""SIGKILL at random points of a run: nothing is lost, nothing is made twice, and starting again is all it takes."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cli.prepared_home import (
    CERTIFICATES,
    SAFETY_NET,
    PreparedHome,
    copy_of,
    kill,
    plan,
    sample_rows,
    wait_until,
    workers_of,
)
from tests.issuance.signature_account import assert_accounted_for
from tests.processes import command_line

SEED = 20261123
MORE_COMPANIES = 150
ALL = CERTIFICATES + 2 * MORE_COMPANIES

LATENCY_MICROSECONDS = 20_000
"""Long enough that a look at the log finds few signatures more than the one it waits for."""


@pytest.fixture(scope="module")
def two_runs(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """The prepared home with a second, larger run."""
    home = copy_of(prepared, tmp_path_factory.mktemp("two-runs") / "copy")
    home.extract.write_text("".join(sample_rows(100, 100 + MORE_COMPANIES)))
    home.cards = home.directory / "more-cards"
    home.sealmint("card-centre", "simulate", "--register", home.extract, "--out", home.cards, "--synthetic")
    assert plan(home).json["items"] == 2 * MORE_COMPANIES
    return home


@pytest.fixture
def home(two_runs: PreparedHome, tmp_path: Path) -> PreparedHome:
    home = copy_of(two_runs, tmp_path / "copy")
    home.hsm.latency("C_Sign", LATENCY_MICROSECONDS)
    return home


def moment(home: PreparedHome, chance: random.Random) -> Callable[[], bool]:
    """A point of the run not far ahead: after some signature, or after some reservation or completion of a unit."""
    if chance.random() < 0.6:
        signatures = home.log_lines + chance.randint(1, 12)
        return lambda: home.log_lines >= signatures
    newest = "SELECT max(sequence) FROM audit_record WHERE event LIKE 'unit.%'"
    records = (home.query(newest)[0][0] or 0) + chance.randint(1, 3)
    return lambda: (home.query(newest)[0][0] or 0) >= records


def assert_whole(home: PreparedHome) -> None:
    """Both runs are as they would be had nothing been killed."""
    for run, certificates in ((1, CERTIFICATES), (2, 2 * MORE_COMPANIES)):
        status = home.look("run", "status", run).json
        assert (status["state"], status["issued"], status["failed"]) == ("completed", certificates, 0)
    account = assert_accounted_for(home.path, issued=ALL)
    assert home.number("SELECT count(*) FROM reservation") == ALL, "an item got a second serial"
    assert home.number("SELECT sum(issued) FROM crl_partition") == ALL
    print(f"{account.signed_again} signatures made again, of {ALL}")
    assert home.look("audit", "verify").json["whole"]


def has_signed(home: PreparedHome, supervisor: subprocess.Popen[bytes]) -> bool:
    """Whether a worker of this supervisor has signed; those of an earlier one may still be at work."""
    workers = workers_of(supervisor)
    return any(signature.process in workers for signature in home.hsm.signatures())


def kill_workers(home: PreparedHome, run: int, workers: int, kills: int, chance: random.Random) -> int:
    """Work a run off while killing so many of its workers; return how many were killed."""
    killed = 0
    while home.state(run) != "completed":
        process = home.start("run", "start", run, "--workers", workers, "--sessions", 1)
        while killed < kills and wait_until(moment(home, chance), process):
            victims = workers_of(process)
            killed += bool(victims) and kill(chance.choice(victims))
        if killed >= kills:
            home.hsm.reset()
        assert process.wait(SAFETY_NET) in {
            0,
            20,
        }  # 20: too many workers died in a row, and the run was paused
    return killed


def test_workers_killed_at_random(home: PreparedHome) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    alone = kill_workers(home, 2, 1, 14, chance)
    home.hsm.latency("C_Sign", LATENCY_MICROSECONDS)
    with_another = kill_workers(home, 1, 2, 3, chance)
    assert alone + with_another >= 16
    assert_whole(home)
    assert home.number("SELECT count(*) FROM audit_record WHERE event = 'worker.lost'") >= 16


def test_supervisors_killed_at_random(home: PreparedHome) -> None:
    """With their workers, or alone: then the workers finish what they have in hand while the next start begins."""
    print(f"seed {SEED + 1}")
    chance = random.Random(SEED + 1)
    alone = [True] * 2 + [False] * 5
    chance.shuffle(alone)
    killed, orphans = 0, set[int]()
    for run in (2, 1):
        while home.state(run) != "completed":
            process = home.start("run", "start", run, "--workers", 2, "--sessions", 1)
            if alone and wait_until(partial(has_signed, home, process), process):
                wait_until(moment(home, chance), process)
                workers = workers_of(process)
                orphans.update(workers)
                victims = [process.pid] if alone.pop() else [process.pid, *workers]
                killed += sum(map(kill, chance.sample(victims, len(victims))))
            if not alone:
                home.hsm.reset()
            assert process.wait(SAFETY_NET) in {0, -9}
    assert not alone, "the runs were over too soon"
    assert killed >= 7 + 5  # supervisors, and at least one worker with each of the five
    wait_until(lambda: not any(b"engine.issuance.worker" in command_line(orphan) for orphan in orphans))
    assert_whole(home)


def test_a_worker_killed_in_the_middle_of_a_signature(home: PreparedHome) -> None:
    """The same stored TBSs are signed again; no item gets a second serial."""
    home.hsm.hang_next("C_Sign")
    process = home.start("run", "start", 1, "--workers", 1, "--sessions", 1)
    assert wait_until(lambda: home.hsm.hanging() > 0, process)
    reserved = set(home.query("SELECT item_id, serial, tbs FROM reservation"))
    assert reserved
    (worker,) = workers_of(process)
    assert kill(worker)
    home.hsm.reset()
    assert process.wait(SAFETY_NET) == 0
    assert reserved < set(home.query("SELECT item_id, serial, tbs FROM reservation"))
    assert_accounted_for(home.path, issued=CERTIFICATES)
