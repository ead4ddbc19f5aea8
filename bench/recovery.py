"""How long a run of over 100,000 certificates takes to be at full speed again after something of it was killed.

    python -m bench.recovery [--postgresql] [--items 150000] [--rounds N] [--workers 2] [--sessions 4] [--json FILE]

A pretend HSM whose C_Sign takes ten milliseconds more. In each round, one after the other while the same run goes on:
all its processes are killed and it is started again at once; a worker is killed; the token is restarted; with
`--postgresql` the server of the record is killed and started again.

Speed is certificates signed for the first time in a second, by the HSM's own log. Recovery is counted from the kill, or
from the restart of what was killed, to the beginning of the first second that makes FULL of the median of the seconds
before the kill, and is followed by others that do too: what workers had in hand does not count.
"""

from __future__ import annotations

import argparse
import bisect
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.lanes import plan
from bench.machine import describe_machine
from bench.ocsp_home import PreparedHome, prepare_home
from bench.sealmint_command import SEALMINT, sealmint
from tests.cli.prepared_home import kill, workers_of
from tests.postgresql_server import OWNER, WRITER, PostgresqlServer, running_server

GOAL_SECONDS = 10.0
"""From the restart to full speed: what was set out for."""

FULL = 0.9
"""Of the median second before. A guess: single seconds of an undisturbed run differ by less."""

STAYS_SECONDS = 3
"""At full speed, one after the other, before that counts."""

STEADY_SECONDS = 6.0
"""At full speed before each event."""

WATCHED_SECONDS = 15.0
"""After each event: longer than the goal."""

LATENCY_MICROSECONDS = 10_000
CERTIFICATES = 2
"""That the home has before: it is made as for the OCSP benchmarks."""


@dataclass
class Run:
    """A run that is being worked off.

    Attributes:
        process: its supervisor.
        seconds: by event, how long each recovery took.
    """

    home: PreparedHome
    number: int
    options: argparse.Namespace
    server: PostgresqlServer | None
    process: subprocess.Popen[bytes] = field(init=False)
    seconds: dict[str, list[float | None]] = field(default_factory=dict)

    def start(self) -> None:
        """Start its supervisor, with workers."""
        command = [*SEALMINT, "run", "start", str(self.number), "--home", str(self.home.path)]
        command += [
            "--workers",
            str(self.options.workers),
            "--sessions",
            str(self.options.sessions),
            "--json",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill_all(self) -> int:
        """Kill every process of it, and start it again; return when, by the monotonic clock in nanoseconds."""
        for process in (self.process.pid, *workers_of(self.process)):
            kill(process)
        self.process.wait()
        at = time.monotonic_ns()
        self.start()
        return at

    def kill_worker(self) -> int:
        """Kill a worker."""
        kill(workers_of(self.process)[0])
        return time.monotonic_ns()

    def restart_token(self) -> int:
        """Take every session and log-in."""
        self.home.hsm.restart()
        return time.monotonic_ns()

    def kill_server(self) -> int:
        """Kill the server of the record, and start it again."""
        assert self.server is not None
        self.server.stop(signal.SIGKILL)
        at = time.monotonic_ns()
        self.server.start()
        return at

    def suffer(self, name: str, event: Callable[[], int]) -> None:
        """Do something to it, and note how long it took to be at full speed."""
        time.sleep(STEADY_SECONDS)
        began = time.monotonic_ns()
        at = event()
        time.sleep(WATCHED_SECONDS)
        if self.process.poll() is not None:
            raise SystemExit("the run ended before the round did; give it more --items")
        took = recovery(first_signatures(self.home), began, at)
        self.seconds.setdefault(name, []).append(took)
        print(f"{name}: {took}", file=sys.stderr)


def first_signatures(home: PreparedHome) -> list[int]:
    """When each TBS was signed for the first time, by the monotonic clock in nanoseconds."""
    seen: dict[str, int] = {}
    for one in home.hsm.signatures():
        if one.result == 0:
            seen.setdefault(one.digest, one.time_ns)
    return sorted(seen.values())


def recovery(signed: Sequence[int], began: int, at: int) -> float | None:
    """Return seconds from an event until full speed was there to stay; None where it never was.

    Args:
        signed: times in ascending order.
        began: when the event began: the seconds before are what it is held against.
        at: from when on recovery is counted.
    """
    second = 1_000_000_000

    def made(start: int) -> int:
        return bisect.bisect_left(signed, start + second) - bisect.bisect_left(signed, start)

    full = FULL * statistics.median(made(began - back * second) for back in range(1, int(STEADY_SECONDS)))
    for start in range(at, at + int((WATCHED_SECONDS - STAYS_SECONDS) * second), second // 20):
        if all(made(start + later * second) >= full for later in range(STAYS_SECONDS)):
            return (start - at) / second
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, print its JSON; fail where the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--postgresql", action="store_true", help="the record is kept there, durable")
    parser.add_argument("--items", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=4, help="of each worker")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="bench-recovery-"))
    try:
        with ExitStack() as opened:
            server = opened.enter_context(running_server(durable=True)) if options.postgresql else None
            home = prepare_home(directory, CERTIFICATES)
            if server is not None:
                move_record(home, server)
            result = measure(directory, home, server, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result |= {"machine": describe_machine(), "command": " ".join(sys.argv)}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "machine"}, indent=2))
    if not result["met"]:
        raise SystemExit(1)


def move_record(home: PreparedHome, server: PostgresqlServer) -> None:
    """Keep a home's record in PostgreSQL from now on."""
    database = server.new_database()
    source, target = f"sqlite:///{home.path}/store.sqlite", server.url(database, OWNER)
    sealmint("store", "copy", "--from", source, "--to", target)
    with (home.path / "sealmint.toml").open("a") as file:
        file.write(f'\n[store]\nurl = "{server.url(database, WRITER)}"\n')


def measure(
    directory: Path, home: PreparedHome, server: PostgresqlServer | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Disturb one run again and again."""
    number = plan(directory, home, options.items // 2)
    home.hsm.latency("C_Sign", LATENCY_MICROSECONDS)
    run = Run(home, number, options, server)
    events = {
        "all killed": run.kill_all,
        "worker killed": run.kill_worker,
        "token restarted": run.restart_token,
    }
    if server is not None:
        events["server killed"] = run.kill_server
    run.start()
    try:
        time.sleep(STEADY_SECONDS)
        for _ in range(options.rounds):
            for name, event in events.items():
                run.suffer(name, event)
    finally:
        run.process.terminate()
        run.process.wait()
    every = [one for some in run.seconds.values() for one in some]
    return {
        "record": "SQLite" if server is None else "PostgreSQL",
        "items": options.items,
        "recovery_seconds": run.seconds,
        "goal_seconds": GOAL_SECONDS,
        "met": all(one is not None and one <= GOAL_SECONDS for one in every),
    }


if __name__ == "__main__":
    main()
