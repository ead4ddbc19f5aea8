"""Live answers and a token that restarts: how long they are gone, and whether those signed ahead ever are.

    python -m bench.token_restart [--rounds N] [--away SECONDS] [--json FILE]

A home on a pretend HSM whose C_Sign takes ten milliseconds more is served by the product's own processes. Questions
with a nonce and questions without come at a constant rate in an open loop. In each round the token is restarted (its
sessions and log-ins are gone), and then taken away for some seconds. The gap of live answers is counted from the moment
at which the token is there again to the intended time of the first question after which all are answered live.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from bench.machine import describe_machine
from bench.ocsp_client import OcspClient, request_for, seen
from bench.ocsp_home import ServedHome, served_home

GOAL_SECONDS = 5.0
"""Live answers are back after the token: what was set out for."""
PER_SECOND = 20
"""Questions of each kind: the gap is known to 50 ms."""
CERTIFICATES = 400
SETTLING_SECONDS = 8.0
"""After each event: longer than the goal."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and what was said: `good`, or an OCSPResponseStatus, or why there was no answer."""

    asked_at: float
    status: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done to the token.

    Attributes:
        name: restart or away.
        began: when it was done.
        back: when the token was there again.
    """

    name: str
    began: float
    back: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, print its JSON; fail where the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--away", type=float, default=10.0, help="seconds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="bench-token-restart-"))
    try:
        with served_home(directory, CERTIFICATES) as home:
            home.hsm.latency("C_Sign", 10_000)
            result = trio.run(measure, home, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result |= {"machine": describe_machine(), "command": " ".join(sys.argv)}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "machine"}, indent=2))
    if not result["met"]:
        raise SystemExit(1)


async def measure(home: ServedHome, options: argparse.Namespace) -> dict[str, Any]:
    """Ask while the token is restarted and taken away in turns."""
    ahead, live = list[Answered](), list[Answered]()
    events = list[Event]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, nursery, home, ahead, False)
        nursery.start_soon(ask, nursery, home, live, True)
        while not any(one.status == "good" for one in live[-5:]):  # noqa: ASYNC110 - what a client sees is no event
            await trio.sleep(0.2)
        ahead.clear()
        for _ in range(options.rounds):
            for seconds in (0.0, options.away):
                await trio.sleep(1.0)
                events.append(await strike(home, seconds))
                await trio.sleep(SETTLING_SECONDS)
        nursery.cancel_scope.cancel()
    return figures(events, ahead, live)


async def strike(home: ServedHome, seconds: float) -> Event:
    """Restart the token, or take it away for some seconds, and wait until it is back."""
    began = trio.current_time()
    if seconds == 0.0:
        home.hsm.restart()
        return Event("restart", began, began)
    home.hsm.away(seconds)
    await trio.sleep_until(began + seconds)
    return Event("away", began, began + seconds)


async def ask(nursery: trio.Nursery, home: ServedHome, answers: list[Answered], nonce: bool) -> None:
    """Ask about one certificate after the other at a constant rate, whatever becomes of the questions before."""
    number, began = 0, trio.current_time()
    while True:
        at = began + number / PER_SECOND
        await trio.sleep_until(at)
        nursery.start_soon(ask_once, home, home.serials[number % len(home.serials)], answers, nonce, at)
        number += 1


async def ask_once(home: ServedHome, serial: bytes, answers: list[Answered], nonce: bool, at: float) -> None:
    """Ask once, on a connection of its own."""
    client = OcspClient(home.address)
    try:
        said = seen(await client.ask(request_for(home.issuer, serial, nonce=nonce)), serial)
        answers.append(Answered(at, said.status, not said.cacheable))
    except (OSError, trio.BrokenResourceError) as error:
        answers.append(Answered(at, type(error).__name__, is_live=False))
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()


def figures(events: Sequence[Event], ahead: Sequence[Answered], live: Sequence[Answered]) -> dict[str, Any]:
    """Put the figures together: the gaps by event, and what was not answered."""
    gaps = {
        name: [round(gap_of(event, live), 3) for event in events if event.name == name]
        for name in ("restart", "away")
    }
    not_ahead = [one.status for one in ahead if one.status != "good" or one.is_live]
    every = [gap for some in gaps.values() for gap in some]
    return {
        "live_gap_seconds": gaps,
        "live_gap_seconds_longest": max(every),
        "ahead_questions": len(ahead),
        "ahead_not_answered": len(not_ahead),
        "live_questions": len(live),
        "live_try_later": sum(one.status == "TRY_LATER" for one in live),
        "live_other": sorted({one.status for one in live} - {"good", "TRY_LATER"}),
        "goal_seconds": GOAL_SECONDS,
        "met": max(every) <= GOAL_SECONDS and not not_ahead,
    }


def gap_of(event: Event, live: Sequence[Answered]) -> float:
    """From the token's return to the last question of this event that was not answered live; 0 where there is none."""
    end = event.back + SETTLING_SECONDS
    missed = [one.asked_at for one in live if event.back <= one.asked_at < end and one.status != "good"]
    return max(missed) + 1 / PER_SECOND - event.back if missed else 0.0


if __name__ == "__main__":
    main()
