"""Five times as many questions as can be signed: what is refused, how soon, and what is left of the capacity.

    python -m bench.overload [--seconds SECONDS] [--times N] [--json FILE]

A home on a pretend HSM that works on four calls at once, each ten milliseconds longer than SoftHSM alone: at most 400
signatures a second. Nonce questions come through the listeners in an open loop. Goodput is compared with what a C
program gets out of the same module and key, with as many threads as the live signer has sessions, before and after. How
long refusals take is what the server's own histograms say; memory is read from /proc every second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from bench.machine import describe_machine
from bench.nonce_questions import Asked, ask_in_open_loop, milliseconds
from bench.ocsp_home import ServedHome, served_home
from bench.raw_signer import RawSigner, raw_signer_of
from engine.cli.opening import open_context
from engine.control.client import RunningProcess, ask_all
from engine.metrics.catalogue import LIVE_REFUSAL_DURATION, OCSP_REQUEST_DURATION
from engine.metrics.families import Family
from engine.x509.ocsp_response import ResponseStatus

CALL_SECONDS = 0.010
SESSIONS = 4
CAPACITY = SESSIONS / CALL_SECONDS
CERTIFICATES = 2_000
CONNECTIONS = 700
"""Enough for the answers on their way: 260 that may wait for the token, and the refusals."""
WARM_UP_SECONDS = 6.0
"""Under the same load, before anything is measured: buffers and pools reach their size."""
SLICES = 3
"""Seconds of raw signing before, and as many after."""

REFUSAL_BOUND = 0.005
GOODPUT_SHARE = 0.9
FLAT = 1.02
"""Memory is flat where the second half's mean is at most this much of the first half's. A guess: what the allocator
keeps for itself varies that much."""

SETTINGS = f"""
[ocsp]
live_sessions = {SESSIONS}
"""

WATCHED = ("listener-1", "listener-2", "live-signer")


@dataclass
class Measured:
    """What was seen while the load ran."""

    questions: list[Asked] = field(default_factory=list)
    resident: dict[str, list[int]] = field(default_factory=dict)
    """Octets by process, a second apart."""
    before: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    after: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metrics by process."""
    raw: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, print its JSON; fail where an objective is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=5.0, help="the capacity")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    directory = Path(tempfile.mkdtemp(prefix="bench-overload-"))
    try:
        with served_home(directory, CERTIFICATES, settings=SETTINGS) as home:
            measured = measure(home, options.times * CAPACITY, options.seconds)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result = {**figures(measured, options), "machine": machine, "command": " ".join(sys.argv)}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "machine"}, indent=2))
    if not all(result["met"].values()):
        raise SystemExit(1)


def measure(home: ServedHome, per_second: float, seconds: float) -> Measured:
    """Ask too much for a while; the C program has the token to itself before and after."""
    with open_context(home.path) as context:
        raw = raw_signer_of(context.configuration, context.configuration.keys.ocsp)
        sockets = Path(context.configuration.control.directory)
    home.hsm.latency("C_Sign", int(CALL_SECONDS * 1e6))
    home.hsm.cap_parallel(SESSIONS)
    measured = Measured(raw=[raw_rate(raw)])
    trio.run(ask_in_open_loop, home, per_second, WARM_UP_SECONDS, CONNECTIONS)
    trio.run(_load, measured, home, sockets, per_second, seconds)
    measured.raw.append(raw_rate(raw))
    return measured


def raw_rate(raw: RawSigner) -> float:
    """Signatures a second of the C program."""
    return raw.per_second((1, SESSIONS), SLICES)


async def _load(
    measured: Measured, home: ServedHome, sockets: Path, per_second: float, seconds: float
) -> None:
    measured.before = await metrics(sockets)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_memory, measured, sockets)
        measured.questions = await ask_in_open_loop(home, per_second, seconds, CONNECTIONS)
        nursery.cancel_scope.cancel()
    measured.after = await metrics(sockets)


async def metrics(sockets: Path) -> dict[str, Mapping[str, Any]]:
    """Ask the processes for what they count."""
    return {
        process.name: said for process, said in await ask_all(sockets, "metrics") if process.name in WATCHED
    }


async def _watch_memory(measured: Measured, sockets: Path) -> None:
    processes: list[RunningProcess] = [process for process, _ in await ask_all(sockets, "describe")]
    while True:
        for process in processes:
            if process.name in WATCHED:
                measured.resident.setdefault(process.name, []).append(resident(process.pid))
        await trio.sleep(1.0)


def resident(process: int) -> int:
    """Octets of memory that are in use (proc(5), statm)."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def figures(measured: Measured, options: argparse.Namespace) -> dict[str, Any]:
    """What was measured against what is to be held."""
    questions = measured.questions
    outcomes = [question.outcome for question in questions]
    counted = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    good = [question for question, outcome in zip(questions, outcomes, strict=True) if outcome == "good"]
    refused = [
        question for question, outcome in zip(questions, outcomes, strict=True) if outcome == "TRY_LATER"
    ]
    capacity = statistics.fmean(measured.raw)
    goodput = len(good) / options.seconds
    growth = {name: _growth(samples) for name, samples in measured.resident.items()}
    refusals = {
        "live_signer": durations(measured, LIVE_REFUSAL_DURATION, {}),
        "listeners": durations(measured, OCSP_REQUEST_DURATION, {"outcome": ResponseStatus.TRY_LATER.label}),
    }
    return {
        "capacity_per_second": round(capacity, 1),
        "capacity_nominal_per_second": CAPACITY,
        "offered_per_second": round(len(questions) / options.seconds, 1),
        "goodput_per_second": round(goodput, 1),
        "goodput_share": round(goodput / capacity, 4),
        "outcomes": counted,
        "good_latency": milliseconds([question.latency for question in good]),
        "refusals_in_server": refusals,
        "refusals_at_client": milliseconds([question.answered - question.sent for question in refused]),
        "client_late": milliseconds(
            [question.sent - question.intended for question in questions if question.sent]
        ),
        "memory_mb": {
            name: [round(size / 1e6, 1) for size in sizes[::5]] for name, sizes in measured.resident.items()
        },
        "memory_growth": growth,
        "load_after": [round(load, 2) for load in os.getloadavg()],
        "met": {
            "goodput": goodput >= GOODPUT_SHARE * capacity,
            "refusals": all(
                one["count"] == 0 or one["p99_at_most_ms"] <= REFUSAL_BOUND * 1e3 for one in refusals.values()
            ),
            "memory": all(share <= FLAT for share in growth.values()) and set(growth) == set(WATCHED),
        },
    }


def _growth(samples: Sequence[int]) -> float:
    half = len(samples) // 2
    return round(statistics.fmean(samples[half:]) / statistics.fmean(samples[:half]), 4)


def durations(measured: Measured, family: Family, labels: Mapping[str, str]) -> dict[str, Any]:
    """What a histogram gained while the load ran, over all processes: how many, and within what 50 and 99 % were."""
    gained = [0] * (len(family.bounds) + 1)
    for name, after in measured.after.items():
        now, then = _buckets(after, family, labels), _buckets(measured.before.get(name, {}), family, labels)
        gained = [sum(x) for x in zip(gained, now, [-count for count in then], strict=True)]
    return {
        "count": sum(gained),
        "within_5_ms": round(sum(gained[: family.bounds.index(REFUSAL_BOUND) + 1]) / max(1, sum(gained)), 5),
        "p50_at_most_ms": _bound(gained, family, 0.5),
        "p99_at_most_ms": _bound(gained, family, 0.99),
    }


def _buckets(said: Mapping[str, Any], family: Family, labels: Mapping[str, str]) -> list[int]:
    found = [0] * (len(family.bounds) + 1)
    for one in said.get("families", []):
        for sample in one["samples"] if one["name"] == family.name else []:
            if labels.items() <= sample["labels"].items():
                found = [sum(x) for x in zip(found, sample["buckets"], strict=True)]
    return found


def _bound(counts: Sequence[int], family: Family, share: float) -> float:
    """The upper end, in milliseconds, of the bucket in which a share of the durations is reached."""
    reached = 0
    for count, bound in zip(counts, (*family.bounds, float("inf")), strict=True):
        reached += count
        if reached >= share * sum(counts):
            return bound * 1e3
    return float("inf")


if __name__ == "__main__":
    main()
