"""Rounds in which the token fails amid a run: one call in so many, a burst of calls, or every session is lost."""

from __future__ import annotations

import random
from functools import partial

from tests.chaos.rounds import Round, rest_after_run
from tests.cli.prepared_home import CERTIFICATES, SAFETY_NET, PreparedHome, wait_until

_WORKERS = 2
_FUNCTION_FAILED, _DEVICE_REMOVED = 0x6, 0x32  # PKCS#11 3.0 section 6.3: CKR values


def _token_fails(fault: str, home: PreparedHome, chance: random.Random) -> str:
    """One call in so many fails, or calls fail in a burst, or every session is lost."""
    if fault == "one in 100":
        home.hsm.fail_one_in("C_Sign", chance.choice([_FUNCTION_FAILED, _DEVICE_REMOVED]), 100)
    elif fault == "burst":
        home.hsm.fail_next("C_Sign", _FUNCTION_FAILED, chance.randint(1, 8))
    home.hsm.seed(chance.randint(1, 1_000_000))
    process = home.start("run", "start", 1, "--workers", _WORKERS)
    if fault == "restart":
        after = home.log_lines + chance.randint(1, CERTIFICATES)
        if wait_until(lambda: home.log_lines >= after, process):
            home.hsm.restart()
    code = process.wait(SAFETY_NET)
    assert code in {0, 20}  # 20: some items failed, or the run was paused
    return f"exit code {code}"


def token_round(chance: random.Random) -> Round:
    """A round in which the token fails."""
    fault = chance.choice(["one in 100", "burst", "restart"])
    return Round("token", fault, False, partial(_token_fails, fault), rest_after_run)
