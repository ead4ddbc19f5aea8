"""How issuing grows with the workers, on a record in PostgreSQL: certificates a second with 1, 2 and 4 of them.

    python -m bench.workers [--workers 1 2 4] [--sessions 4] [--latency-ms 10] [--seconds 30] [--rounds 2] [--json FILE]

A pretend HSM whose C_Sign takes so much longer, and a PostgreSQL server of the benchmark's own, durable. Every point is
a run of its own, planned beforehand, long enough for so many seconds; what counts is the time from the first worker
ready to the last unit committed. The baseline is one worker with one session, measured in every round too: `share` is
what a point makes of as many times that as it has sessions, so 1.0 is linear. Processor time is that of workers,
supervisor and database server together, out of what the machine has.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.lanes import plan
from bench.machine import describe_machine
from bench.ocsp_home import PreparedHome, prepare_home
from bench.sealmint_command import sealmint
from tests.postgresql_server import OWNER, WRITER, running_server

CERTIFICATES = 2
"""That the home has before: it is made as for the OCSP benchmarks."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--sessions", type=int, default=4, help="of each worker")
    parser.add_argument("--latency-ms", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a point, about")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    directory = Path(tempfile.mkdtemp(prefix="bench-workers-"))
    try:
        with running_server(durable=True) as server:
            home = prepare_home(directory, CERTIFICATES)
            database = server.new_database()
            sealmint(
                "store", "copy", "--from", f"sqlite:///{home.path}/store.sqlite",
                "--to", server.url(database, OWNER),
            )  # fmt: skip
            with (home.path / "sealmint.toml").open("a") as file:
                file.write(f'\n[store]\nurl = "{server.url(database, WRITER)}"\n')
            home.hsm.latency("C_Sign", int(options.latency_ms * 1e3))
            points = curve(directory, home, options, server.process.pid)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result = {"points": points, "machine": machine, "command": " ".join(sys.argv)}
    text = json.dumps(result, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


def curve(
    directory: Path, home: PreparedHome, options: argparse.Namespace, server: int
) -> list[dict[str, Any]]:
    """Measure every point in every round, one after the other."""
    shapes = [(1, 1), *((workers, options.sessions) for workers in options.workers)]
    measured: dict[tuple[int, int], list[tuple[float, float]]] = {shape: [] for shape in shapes}
    for number in range(options.rounds):
        for place, shape in enumerate(shapes):
            entities = max(200, int(shape[0] * shape[1] * options.seconds / options.latency_ms * 1_000 / 2))
            made = directory / f"{number}-{place}"
            made.mkdir()
            first = 1_000_000 + 3_000_000 * (number * len(shapes) + place)
            run = plan(made, home, entities, first)
            measured[shape].append(point(home, run, shape, server))
            print(f"round {number + 1}: {shape}: {measured[shape][-1]}", file=sys.stderr)
    alone = statistics.median(rate for rate, _ in measured[1, 1])
    return [
        {
            "workers": workers,
            "sessions": workers * sessions,
            "issued_per_second": round(rate := statistics.median(rate for rate, _ in found), 1),
            "share": round(rate / (alone * workers * sessions), 3),
            "cpu_share": round(statistics.median(cpu for _, cpu in found), 2),
        }
        for (workers, sessions), found in measured.items()
    ]


def point(home: PreparedHome, run: int, shape: tuple[int, int], server: int) -> tuple[float, float]:
    """Work a run off; return certificates a second, and the share of the processors that it took."""
    workers, sessions = shape
    before, began = _cpu_of_server(server), time.perf_counter()
    spent = os.times()
    done = sealmint("run", "start", run, "--home", home.path, "--workers", workers, "--sessions", sessions)
    elapsed = time.perf_counter() - began
    after = os.times()
    cpu = after.children_user + after.children_system - spent.children_user - spent.children_system
    cpu += _cpu_of_server(server) - before
    return done["issued_now"] / done["working_seconds"], cpu / elapsed / (os.cpu_count() or 1)


def _cpu_of_server(pid: int) -> float:
    """Seconds of processor time of the server's processes that are there, and of those that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(stat.parent.name) == pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
