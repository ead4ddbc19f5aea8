"""The short form of `make chaos`: one home, killed at one step after the other, and a round of every other kind.

Kills at random are in tests/issuance/test_killed_processes.py and beside each service.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.database_rounds import database_round
from tests.chaos.judgement import judge
from tests.chaos.kinds import DRAWN
from tests.chaos.rounds import template_of
from tests.chaos.templates import Templates, make_templates
from tests.cli.prepared_home import SAFETY_NET, PreparedHome, copy_of
from tests.postgresql_server import PostgresqlServer

OF_A_RUN = ("unit.reserved", "unit.signed", "unit.completed", "run.manifest-written")
OF_STATUS = ("act.before-commit",)
KILLED = -signal.SIGKILL
SEED = 7
MOST = len(OF_A_RUN) + 2
"""Starts after which nothing may be left to kill: one for each point, and one for failing in a row."""


def until_done(start: Callable[[], int], ways_to_end: set[int]) -> int:
    """Start again until it ends well; return how often it was killed."""
    killed = 0
    for _ in range(MOST):
        code = start()
        if code == 0:
            return killed
        assert code in ways_to_end
        killed += code == KILLED
    raise AssertionError("it does not come to its end")


def test_killed_at_one_step_after_the_other_nothing_is_lost_or_doubled(home: PreparedHome) -> None:
    names = ", ".join(f'"{name}"' for name in OF_A_RUN + OF_STATUS)
    home.configure("[token]\n", f"[fault_points]\nkill = [{names}]\n\n[token]\n")

    def command(*arguments: object) -> Callable[[], int]:
        return lambda: home.start(*arguments).wait(SAFETY_NET)

    # 20: too many workers died in a row, and the run was paused
    assert until_done(command("run", "start", 1, "--workers", 1), {KILLED, 20}) == 1
    serial = home.query("SELECT serial FROM reservation ORDER BY item_id LIMIT 1")[0][0].hex()
    suspend = command("cert", "suspend", serial, "--ground", "token-lost")
    assert until_done(suspend, {KILLED}) == 1

    marks = {path.name for path in (home.path / "run" / "fault-points").iterdir()}
    assert marks == {*OF_A_RUN, *OF_STATUS}
    assert home.number("SELECT count(*) FROM certificate_status WHERE state = 1") == 1
    verdict = judge(home)
    assert verdict.is_good, verdict


@pytest.fixture(scope="module")
def templates(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return make_templates(prepared, tmp_path_factory.mktemp("chaos"))


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_a_round_of_each_kind(templates: Templates, tmp_path: Path, kind: str) -> None:
    chance = random.Random(SEED)
    one = DRAWN[kind](chance)
    victim, verdict = one.play(copy_of(template_of(one, templates), tmp_path / "round"), chance)
    print(f"seed {SEED}: {one.name}: {victim}")
    assert verdict.is_good, verdict


def test_a_round_of_the_database(templates: Templates, tmp_path: Path, postgresql: PostgresqlServer) -> None:
    chance = random.Random(SEED)
    one = database_round(postgresql, chance)
    victim, verdict = one.play(copy_of(template_of(one, templates), tmp_path / "round"), chance)
    print(f"seed {SEED}: {one.name}: {victim}")
    assert verdict.is_good, verdict
