"""The short form of `make chaos`: one home, killed at one step after the other.

Kills at random are in tests/issuance/test_killed_processes.py and beside each service.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.chaos.judgement import judge
from tests.cli.prepared_home import SAFETY_NET, PreparedHome

OF_A_RUN = ("unit.reserved", "unit.signed", "unit.completed", "run.manifest-written")
OF_STATUS = ("act.before-commit",)
KILLED = -signal.SIGKILL
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
