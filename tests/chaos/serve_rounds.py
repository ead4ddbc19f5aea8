"""Rounds on a whole responder host: `sealmint serve` with all its processes, acts on status, one fault after the other.

A relying party asks all the while. Nobody starts anything again.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.chaos.host_rounds import faults_of
from tests.chaos.relying_party import RelyingParty
from tests.chaos.rounds import Round, rest_after_status
from tests.chaos.status_rounds import act_on
from tests.cli.prepared_home import COMPANIES, PreparedHome, kill, wait_until
from tests.host_faults import BROKEN, DAY, FULL, HostFaults
from tests.processes import children_of
from tests.responders.test_serve_command import ask, serving
from tests.status.ocsp_home import OcspHome

_STRIKES = 4
"""In a round. A guess: so many that one often meets what another left."""

_AWAY_SECONDS = 1.0
_FAULT_SECONDS = 1.0
"""How long a fault lasts: decides only how much meets it. A guess: each process does something every second."""


@dataclass(frozen=True, slots=True)
class _Struck:
    """A host at work, and what it can be made to suffer."""

    home: PreparedHome
    process: subprocess.Popen[bytes]
    faults: HostFaults
    chance: random.Random

    def kill_one(self) -> str:
        """Kill one of its processes; the supervisor starts it again."""
        child = self.chance.choice(children_of(self.process.pid))
        kill(child)
        return "killed"

    def fail_files(self, part: str, error: int) -> str:
        """Let a disk fail while somebody acts on status."""
        self.faults.fail(error, part)
        act_on(self.home, self.chance)
        time.sleep(_FAULT_SECONDS)
        self.faults.heal()
        return f"{part} {'full' if error == FULL else 'broken'}"

    def restart_token(self) -> str:
        """Take every session."""
        self.home.hsm.restart()
        return "token restarted"

    def take_token_away(self) -> str:
        """Take the token for a second."""
        self.home.hsm.away(_AWAY_SECONDS)
        time.sleep(_AWAY_SECONDS)
        return "token away"

    def step_clock(self) -> str:
        """Put the clock back by a day, and set it again."""
        self.faults.set_clock_wrong(-DAY)
        time.sleep(_FAULT_SECONDS)
        self.faults.set_clock_wrong(0)
        return "clock a day back"

    def strikes(self) -> list[Callable[[], str]]:
        """Two disks, a process, and one of all the others."""
        parts = ("/store.sqlite", "/status-store/", "/crl/", "/audit/")
        files = [partial(self.fail_files, part, error) for part in parts for error in (FULL, BROKEN)]
        others = [self.restart_token, self.take_token_away, self.step_clock]
        return [
            self.chance.choice(files),
            self.kill_one,
            self.chance.choice(files),
            self.chance.choice(others),
        ]


@contextmanager
def _at_work(home: PreparedHome, chance: random.Random) -> Iterator[tuple[_Struck, dict[str, str]]]:
    faults = faults_of(home)
    home.configure("[token]\n", "[crl]\non_change_minutes = 0\n\n[token]\n")
    with serving(home, "--processes", "2") as (process, said):
        wait_until(lambda: _is_answering(home, said), process)
        yield _Struck(home, process, faults, chance), said


def _is_answering(home: PreparedHome, said: dict[str, str]) -> bool:
    return ask(said["http"], "/readyz")[0] == 200 and OcspHome(home).answered() == COMPANIES


def _suffer(home: PreparedHome, chance: random.Random) -> str:
    with _at_work(home, chance) as (struck, said):
        party = RelyingParty(home, said["ocsp"])
        with party.asking():
            suffered = []
            for strike in chance.sample(struck.strikes(), _STRIKES):
                suffered.append(strike())
                act_on(home, chance)
            assert wait_until(lambda: _is_answering(home, said), struck.process)
        assert not party.wrong, party.wrong
        home.sealmint("check", "--ocsp", said["ocsp"])  # by the processes that suffered, not by new ones
        struck.process.terminate()
        assert struck.process.wait() == 0
    answers = ", ".join(f"{count} {name}" for name, count in sorted(party.told.items()))
    return f"{'; '.join(suffered)}; told {answers}"


def serve_round(_: random.Random) -> Round:
    """A responder host suffers one fault after the other."""
    return Round("serve", "a responder host", True, _suffer, rest_after_status, True)
