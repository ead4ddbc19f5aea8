"""Issuance on a network HSM: how much of what its sessions can do becomes certificates.

    python -m bench.token_rate [--sessions N ...] [--workers N] [--seconds SECONDS] [--json FILE]

A home on a pretend HSM whose C_Sign takes ten milliseconds more. For each number of sessions a run is worked off as
`sealmint run start` does it. The most there can be is sessions ÷ the call time that the pools measured. Working time is
from the first worker ready to the last unit committed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from bench.lanes import FIRST_NUMBER
from bench.machine import describe_machine
from bench.ocsp_home import prepare_home
from bench.sealmint_command import sealmint
from bench.synthetic_register import write_register
from engine.authority.signing import open_token, read_pin
from engine.cli.opening import open_context
from engine.control.client import ask_all
from engine.issuance.run_context import RunContext
from engine.issuance.runs import run_to_end
from engine.issuance.supervisor import WorkReport
from engine.issuance.workforce import Workforce
from engine.metrics.catalogue import POOL_SIGN_DURATION
from engine.pkcs11.lanes import Lane

CALL_SECONDS = 0.010
GOAL = 0.92
"""Of what sixteen sessions can do: what was set out for."""
LOOK_SECONDS = 0.5
"""Between two looks at the pools: the last one of a run counts. A guess."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, nargs="+", default=[16], help="of all workers together")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a run, at full speed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="bench-token-rate-"))
    try:
        points = measure(directory, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result = {
        "points": points,
        "goal_at_16": GOAL,
        "workers": options.workers,
        "load_after": [round(load, 2) for load in os.getloadavg()],
        "machine": describe_machine(),
        "command": " ".join(sys.argv),
    }
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "machine"}, indent=2))


def measure(directory: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Make a home; for each number of sessions plan a run and work it off."""
    home = prepare_home(directory, 2)
    home.hsm.latency("C_Sign", int(CALL_SECONDS * 1e6))
    points, first = [], FIRST_NUMBER
    register = directory / "register.jsonl"
    for sessions in options.sessions:
        # Above about 32 sessions the CPU is what bounds, and a run of so many seconds would be many times longer.
        entities = int(min(sessions, 32) / CALL_SECONDS * options.seconds / 2)
        first = write_register(register, entities, first)
        cards, files = directory / f"cards-{sessions}", ("--home", home.path, "--register", register)
        sealmint("card-centre", "simulate", *files, "--out", cards, "--synthetic")
        run = int(sealmint("run", "plan", *files, "--card-keys", cards, "--policy", "all-companies")["run"])
        with open_context(home.path) as context:
            points.append(work_off(context, run, sessions, options.workers))
    return points


def work_off(context: RunContext, run: int, sessions: int, workers: int) -> dict[str, Any]:
    """Work a run off; return its figures."""
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    calls: list[float] = []

    async def look() -> None:
        directory = Path(context.configuration.control.directory)
        while True:
            await trio.sleep(LOOK_SECONDS)
            said = [answer for _, answer in await ask_all(directory, "metrics")]
            calls[:] = mean_call(said) or calls

    async def work() -> WorkReport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            report = await run_to_end(
                context,
                run,
                token,
                pin,
                force=Workforce(workers, sessions // workers),
                stop=trio.Event(),
                progress=lambda _: None,
            )
            nursery.cancel_scope.cancel()
        return report

    report = trio.run(work)
    if report.error is not None or report.failed or not calls:
        raise SystemExit(f"the run failed: {report}")
    (call,), issued = calls, report.issued / report.working_seconds
    cpu = sum(worker.cpu_microseconds for worker in report.workers) / 1e6
    return {
        "sessions": sessions,
        "certificates": report.issued,
        "working_seconds": round(report.working_seconds, 2),
        "issued_per_second": round(issued, 1),
        "call_ms": round(call * 1e3, 3),
        "ratio": round(issued / (sessions / call), 4),
        "cpus_busy": round(cpu / report.working_seconds, 2),
        "wait_seconds": [
            {name: round(spent, 2) for name, spent in worker.waits.items()} for worker in report.workers
        ],
    }


def mean_call(answers: Sequence[dict[str, Any]]) -> list[float]:
    """Return the mean time of a call of C_Sign over all workers, in seconds; nothing where none was made."""
    found = [
        sample
        for answer in answers
        for family in answer.get("families", [])
        if family["name"] == POOL_SIGN_DURATION.name
        for sample in family["samples"]
        if sample["labels"]["lane"] == Lane.ISSUANCE.label
    ]
    made = sum(sample["count"] for sample in found)
    return [sum(sample["sum"] for sample in found) / made] if made else []


if __name__ == "__main__":
    main()
