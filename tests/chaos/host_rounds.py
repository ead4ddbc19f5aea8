"""Rounds in which the host of a run fails: its disk is full or broken, or its wall clock jumps by a day."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from functools import partial

from tests.chaos.rounds import Round, rest_after_run
from tests.cli.prepared_home import CERTIFICATES, SAFETY_NET, PreparedHome, wait_until
from tests.host_faults import BROKEN, DAY, FULL, HostFaults

_LATENCY_MICROSECONDS = 10_000
"""Of a signature: long enough that what is done meets a run at work."""

_MOST_HITS = 20
"""Calls that fail before the disk is well again. A guess: several attempts of each process."""

_LOOK_SECONDS = 0.5
"""Between two looks whether anything still happens. A guess: at work, a unit is completed several times in it."""

ERRORS = {"full": FULL, "broken": BROKEN}


def faults_of(home: PreparedHome) -> HostFaults:
    """Have all processes of a home suffer what is told from now on."""
    faults = HostFaults(home.directory / "host-faults")
    home.told |= faults.environment
    return faults


def _during_a_run(
    strike: Callable[[HostFaults, PreparedHome, random.Random, subprocess.Popen[bytes]], str],
    home: PreparedHome,
    chance: random.Random,
) -> str:
    """Strike after some signature; the run goes on by itself, and nobody starts it again."""
    faults = faults_of(home)
    home.hsm.latency("C_Sign", _LATENCY_MICROSECONDS)
    after = chance.randrange(1, CERTIFICATES - 20)
    before = home.log_lines
    with home.start("run", "start", 1, "--workers", 2) as process:
        assert wait_until(lambda: home.log_lines - before >= after, process)
        told = strike(faults, home, chance, process)
        assert process.wait(SAFETY_NET) == 0
    return f"{told} after signature {after}"


def _disk_fails(
    error: int,
    faults: HostFaults,
    _: PreparedHome,
    chance: random.Random,
    process: subprocess.Popen[bytes],
) -> str:
    hits = chance.randint(1, _MOST_HITS)
    faults.fail(error, "/store.sqlite")
    assert wait_until(lambda: faults.hits >= hits, process)
    faults.heal()
    return f"{faults.hits} calls failed"


def files_round(chance: random.Random) -> Round:
    """The disk of the record is full, or broken, amid a run."""
    name = chance.choice([*ERRORS])
    disturb = partial(_during_a_run, partial(_disk_fails, ERRORS[name]))
    return Round("files", f"the record's disk is {name}", False, disturb, rest_after_run)


def _clock_goes_ahead(faults: HostFaults, *_: object) -> str:
    """And stays there: also for what comes after the run."""
    faults.set_clock_wrong(DAY)
    return "a day ahead"


def _clock_goes_back(faults: HostFaults, home: PreparedHome, *_: object) -> str:
    """And is set again. Meanwhile nothing may be issued: its time would lie before what was recorded."""
    faults.set_clock_wrong(-DAY)
    stored = _wait_until_nothing_is_completed(home)
    faults.set_clock_wrong(0)
    return f"a day back, and set again; stood still with {stored} certificates"


def _clock_goes_ahead_and_back(faults: HostFaults, home: PreparedHome, *_: object) -> str:
    """As by a time server that is wrong for a while: what was recorded by then lies ahead, so all waits for then."""
    faults.set_clock_wrong(DAY)
    stored = _stored(home)
    wait_until(lambda: _stored(home) > stored or home.state() == "completed")
    faults.set_clock_wrong(0)
    stored = _wait_until_nothing_is_completed(home)
    faults.set_clock_wrong(DAY)
    return f"a day ahead, back (stood still with {stored} certificates), and ahead when the day has come"


def _stored(home: PreparedHome) -> int:
    return home.number("SELECT count(*) FROM signature")


def _wait_until_nothing_is_completed(home: PreparedHome) -> int:
    """Wait until two looks find the same; return how many certificates there are."""
    while True:
        stored = _stored(home)
        signed = home.log_lines
        time.sleep(_LOOK_SECONDS)
        if stored == _stored(home) and signed == home.log_lines:
            return stored


_CLOCKS = (_clock_goes_ahead, _clock_goes_back, _clock_goes_ahead_and_back)


def clock_round(chance: random.Random) -> Round:
    """The wall clock jumps amid a run."""
    strike = chance.choice(_CLOCKS)
    name = strike.__name__.removeprefix("_").replace("_", " ")
    return Round("clock", name, False, partial(_during_a_run, strike), rest_after_run)
