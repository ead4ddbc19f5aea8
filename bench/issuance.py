"""Issuance against the token's raw rate, in the same run.

    python -m bench.issuance --entities N --json FILE [--rounds R]

A home of its own is made, with a SoftHSM token. The entities are divided into rounds; before and after each round the
raw rate of the token is measured with a C program on the same module and key, so that noise on a shared machine meets
both alike. A round is a full run of `sealmint run start`: from the first worker ready to the last unit completed, every
TBS built, checked and reserved, signed, its signature verified, completed, audited, durable.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from bench.machine import describe_machine
from bench.raw_signer import SHAPES, RawSigner, build_raw_signer
from bench.synthetic_register import write_register
from engine.cli.opening import open_context
from engine.issuance.runs import RunContext, run_to_end, workforce
from engine.issuance.signing import open_token, read_pin
from engine.issuance.supervisor import WorkReport
from engine.metrics import peak_memory_mb, process_cpu_microseconds

RAW_SECONDS = 3.0
"""How long the raw rate is measured for each shape, before and after each round."""


@dataclass
class Round:
    """One run between two measurements of the raw rate."""

    issued: int
    seconds: float
    raw_per_second: float = 0.0

    @property
    def per_second(self) -> float:
        """Certificates a second."""
        return self.issued / self.seconds


@dataclass
class Measured:
    """Everything that was measured."""

    rounds: list[Round] = field(default_factory=list)
    raw: list[dict[str, float]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    worker_cpu: float = 0.0
    supervisor_cpu: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    plans: list[dict[str, Any]] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--sessions", type=int)
    parser.add_argument(
        "--directory", type=Path, help="where the home is made; a temporary directory without it"
    )
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    directory = Path(tempfile.mkdtemp(prefix="bench-issuance-", dir=options.directory))
    try:
        result = measure(directory, options)
    finally:
        shutil.rmtree(directory)
    result["machine"] = machine
    options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps({name: result[name] for name in SHOWN}, indent=2))


SHOWN = (
    "certificates",
    "raw_per_second",
    "issued_per_second",
    "ratio",
    "cpu_us_per_certificate",
    "cpu_us",
    "peak_rss_mb",
    "planned_items_per_second",
    "keys_checked_per_second",
)


def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Plan and issue round by round, and put the figures together."""
    home = directory / "home"
    sealmint("init", "--home", str(home))
    measured = Measured()
    start = 1_000_000
    with open_context(home) as context:
        raw = raw_signer_of(context)
        before = raw_rates(raw)
        measured.raw.append(before)
        for number in range(options.rounds):
            entities = options.entities // options.rounds + (number < options.entities % options.rounds)
            run_id, start = plan(directory, home, entities, start, measured)
            issue(context, run_id, options, measured)
            after = raw_rates(raw)
            measured.raw.append(after)
            measured.rounds[-1].raw_per_second = (max(before.values()) + max(after.values())) / 2
            before = after
    return result_of(measured, options)


def sealmint(*arguments: str) -> dict[str, Any]:
    """Run a command of the product and return its JSON."""
    command = [sys.executable, "-P", "-m", "engine.cli.main", *arguments, "--json"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=7_200).stdout
    document: dict[str, Any] = json.loads(answer)
    return document


def raw_signer_of(context: RunContext) -> RawSigner:
    """Build the C program for the home's own token and CA key."""
    token = context.configuration.token
    return RawSigner(
        program=build_raw_signer(),
        module=token.module,
        environment=token.environment,
        pin_file=Path(str(token.pin_file)),
        token_label=token.label,
        key_label=context.configuration.keys.ca,
    )


def raw_rates(raw: RawSigner) -> dict[str, float]:
    """Measure each shape once."""
    return {
        f"{processes}x{threads}": raw.per_second((processes, threads), RAW_SECONDS)
        for processes, threads in SHAPES
    }


def plan(directory: Path, home: Path, entities: int, start: int, measured: Measured) -> tuple[int, int]:
    """Make a register and cards for so many entities, and plan a run for them."""
    register = directory / "register.jsonl"
    cards = directory / "card-keys"
    following = write_register(register, entities, start)
    files = ("--home", str(home), "--register", str(register))
    began = time.perf_counter()
    sealmint("card-centre", "simulate", *files, "--out", str(cards), "--synthetic")
    cards_seconds = time.perf_counter() - began
    planned = sealmint("run", "plan", *files, "--card-keys", str(cards), "--policy", "all-companies")
    measured.plans.append({**planned, "card_making_seconds": round(cards_seconds, 2)})
    return int(planned["run"]), following


def issue(context: RunContext, run_id: int, options: argparse.Namespace, measured: Measured) -> None:
    """Work a run off as `sealmint run start` does, in this process as the supervisor."""
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    force = workforce(context, token, options.workers, options.sessions)
    cpu = process_cpu_microseconds()

    async def work() -> WorkReport:
        return await run_to_end(
            context, run_id, token, pin, force=force, stop=trio.Event(), progress=lambda report: None
        )

    report = trio.run(work)
    if report.error is not None or report.failed:
        raise SystemExit(f"the run failed: {report}")
    measured.supervisor_cpu += process_cpu_microseconds() - cpu
    measured.rounds.append(Round(report.issued, report.working_seconds))
    for number, worker in enumerate(report.workers, 1):
        measured.steps.update(worker.steps_microseconds)
        measured.waits.update(worker.waits)
        measured.worker_cpu += worker.cpu_microseconds
        name = f"worker_{number}"
        measured.peaks[name] = max(measured.peaks.get(name, 0.0), worker.peak_memory_mb)
    measured.peaks["supervisor"] = peak_memory_mb()


def result_of(measured: Measured, options: argparse.Namespace) -> dict[str, Any]:
    """Put the figures together."""
    certificates = sum(r.issued for r in measured.rounds)
    issued = certificates / sum(r.seconds for r in measured.rounds)
    raw = certificates / sum(r.issued / r.raw_per_second for r in measured.rounds)
    steps = {name: spent / certificates for name, spent in sorted(measured.steps.items())}
    workers = measured.worker_cpu / certificates
    items = sum(plan["items"] for plan in measured.plans)
    return {
        "certificates": certificates,
        "raw_per_second": round(raw, 1),
        "issued_per_second": round(issued, 1),
        "ratio": round(issued / raw, 4),
        "ratio_by_round": [round(r.per_second / r.raw_per_second, 4) for r in measured.rounds],
        "ratio_median": round(statistics.median(r.per_second / r.raw_per_second for r in measured.rounds), 4),
        "issued_by_round": [round(r.per_second, 1) for r in measured.rounds],
        "raw_by_measurement": measured.raw,
        "cpu_us_per_certificate": round(workers + measured.supervisor_cpu / certificates, 1),
        "cpu_us": {
            **{name: round(spent, 1) for name, spent in steps.items()},
            "worker_other": round(workers - sum(steps.values()), 1),
            "supervisor": round(measured.supervisor_cpu / certificates, 1),
        },
        "wait_seconds": {name: round(spent, 2) for name, spent in sorted(measured.waits.items())},
        "peak_rss_mb": round(max(measured.peaks.values()), 1),
        "peak_rss_mb_by_process": {name: round(size, 1) for name, size in measured.peaks.items()},
        "planned_items_per_second": round(
            items / sum(plan["planning_seconds"] for plan in measured.plans), 1
        ),
        "keys_checked_per_second": round(items / sum(plan["intake_seconds"] for plan in measured.plans), 1),
        "plans": measured.plans,
        "entities": options.entities,
        "command": " ".join(sys.argv),
    }


if __name__ == "__main__":
    main()
