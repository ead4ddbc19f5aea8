"""Issuance against the token's raw rate, in the same run.

    python -m bench.issuance --entities N --json FILE [--slice SECONDS]

A home of its own is made, with a SoftHSM token. A run is issued in slices: every few seconds the worker processes are
stopped where they are (SIGSTOP), the raw rate of the token is measured with a C program on the same module and key, and
they go on. So whatever else a shared machine does meets both alike. The time of issuing is from the first worker ready
to the last unit completed, less the time they were stopped: every TBS built, checked and reserved, signed, its
signature verified, completed, audited, durable. The raw rate is that of the better of two shapes, over all slices.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
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
from bench.raw_signer import SHAPES, RawSigner, raw_signer_of
from bench.sealmint_command import sealmint
from bench.synthetic_register import write_register
from engine.authority.signing import open_token, read_pin
from engine.cli.opening import open_context
from engine.issuance.run_context import RunContext
from engine.issuance.runs import run_to_end
from engine.issuance.supervisor import WorkReport
from engine.issuance.workforce import workforce
from engine.metrics.spending import peak_memory_mb, process_cpu_microseconds

RAW_SECONDS = 0.7
"""How long the raw rate is measured for each shape in each slice."""


@dataclass
class Slices:
    """Where the time of a run went: issuing, or stopped while the raw rate was measured."""

    raw: list[dict[str, float]] = field(default_factory=list)
    stopped: list[tuple[float, float]] = field(default_factory=list)
    ready_at: float | None = None
    finished_at: float = 0.0
    issued: int = 0

    def progress(self, report: WorkReport) -> None:
        """Take the time of the first worker ready and of every unit completed."""
        now = time.monotonic()
        self.ready_at = self.ready_at or now
        if report.issued > self.issued:
            self.issued, self.finished_at = report.issued, now

    @property
    def issuing_seconds(self) -> float:
        """The time from the first worker ready to the last unit completed, less the time stopped."""
        begin, end = self.ready_at or 0.0, self.finished_at
        return end - begin - sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in self.stopped)

    def raw_by_shape(self) -> dict[str, float]:
        """The raw rate of each shape over all slices."""
        return {shape: statistics.fmean(rates[shape] for rates in self.raw) for shape in self.raw[0]}


@dataclass
class Measured:
    """Everything that was measured."""

    slices: Slices = field(default_factory=Slices)
    steps: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    worker_cpu: float = 0.0
    supervisor_cpu: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument(
        "--slice", type=float, default=2.0, help="seconds of issuing between raw measurements"
    )
    parser.add_argument(
        "--probe", type=int, help="entities of a run before and one after, to see the cost grow"
    )
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
    print(json.dumps({name: result[name] for name in SHOWN if name in result}, indent=2))


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
    "own_work_growth",
    "cost_growth",
)


def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Plan a run, issue it in slices, and put the figures together; with a probe before and after it."""
    home = directory / "home"
    sealmint("init", "--home", home)
    first = 1_000_000
    probes: list[dict[str, Any]] = []
    if options.probe:
        figures, first = run_of(directory, home, options.probe, first, options)
        probes.append(figures)
    result, first = run_of(directory, home, options.entities, first, options)
    if options.probe:
        figures, first = run_of(directory, home, options.probe, first, options)
        probes.append(figures)
        result["probes"] = probes
        result["own_work_growth"] = round(own_work(probes[1]) / own_work(probes[0]), 3)
        result["cost_growth"] = round(all_steps(probes[1]) / all_steps(probes[0]), 3)
    return result


def run_of(
    directory: Path, home: Path, entities: int, first: int, options: argparse.Namespace
) -> tuple[dict[str, Any], int]:
    """Plan and issue one run; return its figures and the first number not used yet."""
    measured = Measured()
    run_id, following = plan(directory, home, entities, first, measured)
    with open_context(home) as context:
        issue(context, run_id, options, measured)
    return result_of(measured, options), following


def all_steps(figures: dict[str, Any]) -> float:
    """CPU a certificate in all steps: our own, signing and verifying; starting the processes is not among them."""
    return own_work(figures) + float(figures["cpu_us"]["sign"] + figures["cpu_us"]["verify"])


def own_work(figures: dict[str, Any]) -> float:
    """CPU a certificate in the steps that are ours and touch the store: all but signing, verifying and starting."""
    return float(sum(figures["cpu_us"][step] for step in ("read", "build", "check", "reserve", "complete")))


def raw_rates(raw: RawSigner) -> dict[str, float]:
    """Measure each shape once."""
    return {
        f"{processes}x{threads}": raw.per_second((processes, threads), RAW_SECONDS)
        for processes, threads in SHAPES
    }


def plan(directory: Path, home: Path, entities: int, first: int, measured: Measured) -> tuple[int, int]:
    """Make a register and cards for so many entities, and plan a run; return it and the first number not used."""
    register = directory / "register.jsonl"
    cards = directory / "card-keys"
    following = write_register(register, entities, first)
    files = ("--home", home, "--register", register)
    began = time.perf_counter()
    sealmint("card-centre", "simulate", *files, "--out", cards, "--synthetic")
    cards_seconds = time.perf_counter() - began
    planned = sealmint("run", "plan", *files, "--card-keys", cards, "--policy", "all-companies")
    measured.plan = {**planned, "card_making_seconds": round(cards_seconds, 2)}
    return int(planned["run"]), following


def issue(context: RunContext, run_id: int, options: argparse.Namespace, measured: Measured) -> None:
    """Work a run off as `sealmint run start` does, in this process as the supervisor."""
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    force = workforce(context, token, options.workers, options.sessions)
    raw = raw_signer_of(context.configuration, context.configuration.keys.ca)
    slices = measured.slices
    slices.raw.append(raw_rates(raw))  # a short run may end before its first slice
    cpu = process_cpu_microseconds()

    async def work() -> WorkReport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alternate, raw, options.slice, slices)
            report = await run_to_end(
                context, run_id, token, pin, force=force, stop=trio.Event(), progress=slices.progress
            )
            nursery.cancel_scope.cancel()
        return report

    report = trio.run(work)
    if report.error is not None or report.failed:
        raise SystemExit(f"the run failed: {report}")
    measured.supervisor_cpu += process_cpu_microseconds() - cpu
    for number, worker in enumerate(report.workers, 1):
        measured.steps.update(worker.steps_microseconds)
        measured.waits.update(worker.waits)
        measured.worker_cpu += worker.cpu_microseconds
        measured.peaks[f"worker_{number}"] = worker.peak_memory_mb
    measured.peaks["supervisor"] = peak_memory_mb()


async def alternate(raw: RawSigner, seconds: float, slices: Slices) -> None:
    """Stop the workers every so many seconds, measure the raw rate, and let them go on."""
    while True:
        await trio.sleep(seconds)
        workers = worker_processes()
        if slices.ready_at is None or not workers:
            continue
        start = time.monotonic()
        try:
            for process in workers:
                os.kill(process, signal.SIGSTOP)
            with trio.CancelScope(shield=True), contextlib.suppress(subprocess.TimeoutExpired):
                # A worker may have been stopped while it held a lock of SoftHSM's; then the slice does not count.
                slices.raw.append(await trio.to_thread.run_sync(raw_rates, raw))
        finally:
            for process in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)
        slices.stopped.append((start, time.monotonic()))


def worker_processes() -> list[int]:
    """Return this process's children that are workers."""
    threads = Path(f"/proc/{os.getpid()}/task").iterdir()  # each with the children that it started
    return [
        int(child)
        for thread in threads
        for child in (thread / "children").read_text().split()
        if b"engine.issuance.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def result_of(measured: Measured, options: argparse.Namespace) -> dict[str, Any]:
    """Put the figures together."""
    slices = measured.slices
    certificates = slices.issued
    issued = certificates / slices.issuing_seconds
    raw_by_shape = slices.raw_by_shape()
    raw = max(raw_by_shape.values())
    steps = {name: spent / certificates for name, spent in sorted(measured.steps.items())}
    workers = measured.worker_cpu / certificates
    planned = measured.plan
    return {
        "certificates": certificates,
        "raw_per_second": round(raw, 1),
        "issued_per_second": round(issued, 1),
        "ratio": round(issued / raw, 4),
        "raw_by_shape": {shape: round(rate, 1) for shape, rate in raw_by_shape.items()},
        "raw_by_slice": slices.raw,
        "issuing_seconds": round(slices.issuing_seconds, 2),
        "cpu_us_per_certificate": round(workers + measured.supervisor_cpu / certificates, 1),
        "cpu_us": {
            **{name: round(spent, 1) for name, spent in steps.items()},
            "worker_other": round(workers - sum(steps.values()), 1),
            "supervisor": round(measured.supervisor_cpu / certificates, 1),
        },
        "wait_seconds": {name: round(spent, 2) for name, spent in sorted(measured.waits.items())},
        "peak_rss_mb": round(max(measured.peaks.values()), 1),
        "peak_rss_mb_by_process": {name: round(size, 1) for name, size in measured.peaks.items()},
        "planned_items_per_second": round(planned["items"] / planned["planning_seconds"], 1),
        "keys_checked_per_second": round(planned["items"] / planned["intake_seconds"], 1),
        "plan": planned,
        "entities": options.entities,
        "command": " ".join(sys.argv),
    }


if __name__ == "__main__":
    main()
