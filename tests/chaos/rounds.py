"""The rounds: what is started, what is done to it, and how it is brought to rest."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from engine.fault_points import FAULT_POINTS
from tests.chaos.judgement import Verdict, judge, settle, settle_status
from tests.chaos.templates import Templates, more_cards, more_extract
from tests.cli.prepared_home import (
    CERTIFICATES,
    SAFETY_NET,
    PreparedHome,
    kill,
    wait_until,
    workers_of,
)
from tests.status.ocsp_home import OcspHome

_WORKERS = 2
_LATENCY_MICROSECONDS = 5_000
"""Of a signature in rounds with a kill at random: long enough that it hits a run at work."""

NOT_IN_ROUNDS = {
    "feed.signed": "needs a public host that asks",
}
"""Points that rounds leave out, and why."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round.

    Attributes:
        kind: what is broken: see docs/chaos.md.
        name: what is done.
        issued: whether it starts from the home whose run is done.
        disturb: does it; returns what was killed or failed.
        rest: brings the home to rest.
        is_served: whether it is judged by what it serves, too.
    """

    kind: str
    name: str
    issued: bool
    disturb: Callable[[PreparedHome, random.Random], str]
    rest: Callable[[PreparedHome], None]
    is_served: bool = False

    def play(self, home: PreparedHome, chance: random.Random) -> tuple[str, Verdict]:
        """Disturb a copy of the template, bring it to rest, judge."""
        victim = self.disturb(home, chance)
        home.hsm.reset()
        self.rest(home)
        return victim, judge(home, is_served=self.is_served)


def template_of(one: Round, templates: Templates) -> PreparedHome:
    """The home that a round copies."""
    return templates.issued if one.issued else templates.planned


# ---- a named step ----


def point_rounds() -> Iterator[Round]:
    """A round for each fault point."""
    for name in FAULT_POINTS:
        if name in NOT_IN_ROUNDS:
            continue
        issued, disturb, rest = _WAYS[name.split(".")[0]]
        yield Round("point", name, issued, partial(disturb, name), rest)


def arm(home: PreparedHome, name: str) -> None:
    """Name a fault point in the configuration."""
    home.configure("[token]\n", f'[fault_points]\nkill = ["{name}"]\n\n[token]\n')


def was_hit(home: PreparedHome, name: str) -> str:
    """Check that the point has killed."""
    assert (home.path / "run" / "fault-points" / name).exists(), f"nothing came by {name}"
    return f"killed at {name}"


def _killed(home: PreparedHome, *arguments: object) -> None:
    assert home.start(*arguments).wait(SAFETY_NET) == -signal.SIGKILL


def _plan(name: str, home: PreparedHome, _: random.Random) -> str:
    arm(home, name)
    _killed(home, *_second_plan(home))
    return was_hit(home, name)


def _second_plan(home: PreparedHome) -> tuple[object, ...]:
    files = ("--register", more_extract(home), "--card-keys", more_cards(home))
    return ("run", "plan", *files, "--policy", home.policy)


def _rest_after_plan(home: PreparedHome) -> None:
    if home.number("SELECT count(*) FROM run WHERE state = 'planned'") == 1:
        home.sealmint(*_second_plan(home))
    for run in (1, 2):
        settle(home, run)


def _unit(name: str, home: PreparedHome, _: random.Random) -> str:
    """A worker is killed; its supervisor starts another."""
    arm(home, name)
    process = home.start("run", "start", 1, "--workers", _WORKERS)
    assert process.wait(SAFETY_NET) == 0
    return was_hit(home, name)


def _closing(name: str, home: PreparedHome, _: random.Random) -> str:
    arm(home, name)
    _killed(home, "run", "start", 1, "--workers", 1)
    return was_hit(home, name)


def rest_after_run(home: PreparedHome) -> None:
    """Work run 1 off."""
    settle(home, 1)


def _crl(name: str, home: PreparedHome, _: random.Random) -> str:
    arm(home, name)
    _killed(home, "crl", "publish")
    return was_hit(home, name)


def _ocsp(name: str, home: PreparedHome, _: random.Random) -> str:
    arm(home, name)
    assert OcspHome(home).pre_sign() == -signal.SIGKILL
    return was_hit(home, name)


def _act(name: str, home: PreparedHome, _: random.Random) -> str:
    arm(home, name)
    serial = home.query("SELECT serial FROM reservation ORDER BY item_id LIMIT 1")[0][0].hex()
    _killed(home, "cert", "suspend", serial, "--ground", "token-lost")
    return was_hit(home, name)


def _status_store(name: str, home: PreparedHome, _: random.Random) -> str:
    arm(home, name)
    with OcspHome(home).service("follower") as follower:
        assert follower.process.wait(SAFETY_NET) == -signal.SIGKILL
    return was_hit(home, name)


def _journal(name: str, home: PreparedHome, _: random.Random) -> str:
    """The token watch journals its test signatures; stopped, it records them."""
    arm(home, name)
    before = home.log_lines
    with OcspHome(home).service("token_watch") as watch:
        if watch.wait_until(lambda: home.log_lines > before):
            watch.process.terminate()
        assert watch.process.wait(SAFETY_NET) == -signal.SIGKILL
    return was_hit(home, name)


def rest_after_status(home: PreparedHome) -> None:
    """Bring the status store up to the record, sign every answer, publish every CRL."""
    with OcspHome(home).service("follower") as follower:
        assert follower.wait_until(lambda: follower.has_said("following"))
        assert OcspHome(home).pre_sign() == 0
        assert follower.stop() == 0
    settle_status(home)


_WAYS: dict[str, tuple[bool, Callable[[str, PreparedHome, random.Random], str], Callable[..., None]]] = {
    "plan": (False, _plan, _rest_after_plan),
    "unit": (False, _unit, rest_after_run),
    "run": (False, _closing, rest_after_run),
    "operations": (False, _closing, rest_after_run),
    "checkpoint": (False, _closing, rest_after_run),
    "crl": (True, _crl, rest_after_status),
    "ocsp": (True, _ocsp, rest_after_status),
    "act": (True, _act, rest_after_status),
    "status-store": (True, _status_store, rest_after_status),
    "journal": (True, _journal, rest_after_status),
}
"""By the first word of a point: from which home, who is killed there, and what comes after."""


# ---- at random ----


def _run_at_random(home: PreparedHome, chance: random.Random) -> str:
    """Kill the supervisor, a worker, or all of them, after some signature."""
    home.hsm.latency("C_Sign", _LATENCY_MICROSECONDS)
    after = home.log_lines + chance.randint(1, CERTIFICATES)
    who = chance.choice(["supervisor", "worker", "all"])
    process = home.start("run", "start", 1, "--workers", _WORKERS)
    if wait_until(lambda: home.log_lines >= after, process):
        workers = workers_of(process)
        if who != "worker":
            workers += [process.pid]
        for victim in workers[-1:] if who != "all" else workers:
            kill(victim)
    home.hsm.reset()
    process.wait(SAFETY_NET)
    return f"{who} killed after signature {after}"


def _service_at_random(home: PreparedHome, chance: random.Random) -> str:
    """Kill a service after some signature, or the follower as soon as it has said something."""
    name = chance.choice(["pre_signer", "crl_publisher", "follower", "token_watch"])
    home.hsm.latency("C_Sign", _LATENCY_MICROSECONDS)
    after = home.log_lines + chance.randint(1, 4)
    with OcspHome(home).service(name) as service:
        if name == "follower":
            service.wait_until(lambda: bool(service.said))
        else:
            service.wait_until(lambda: home.log_lines >= after)
        service.kill()
    return f"{name} killed after signature {after}"


def random_round(chance: random.Random) -> Round:
    """A round with a kill at a moment that the seed chooses."""
    if chance.random() < 0.6:
        return Round("random", "a run", False, _run_at_random, rest_after_run)
    return Round("random", "a service", True, _service_at_random, rest_after_status)
