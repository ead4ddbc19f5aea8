"""Live answers beside a run at full speed: what the lanes are for.

    python -m bench.lanes [--rounds N] [--seconds SECONDS] [--json FILE]

A home on a pretend HSM whose C_Sign takes ten milliseconds more and which works on sixteen calls at once, over all
processes. `sealmint run start` issues with as many sessions as the HSM has places, `sealmint serve` answers beside it,
and nonce questions come at 100 a second in an open loop. Rounds alone (no run: what this machine can do at best),
without lanes and with lanes alternate: each starts the processes anew, goes on with the same run, and is measured when
workers and live signer are at work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from bench.machine import describe_machine
from bench.nonce_questions import Asked, ask_in_open_loop, milliseconds
from bench.ocsp_home import PreparedHome, prepare_home, served
from bench.sealmint_command import SEALMINT, sealmint
from bench.synthetic_register import write_register

CALL_SECONDS = 0.010
PARALLEL = 16
"""What the pretend HSM works on at once."""
WORKERS = 2
LIVE_SESSIONS = 4
QUESTIONS_PER_SECOND = 100
CONNECTIONS = 64
CERTIFICATES = 2_000
"""That are asked about."""
OBJECTIVE_MS = 50.0
FIRST_NUMBER = 1_000_000
SETTLING_SECONDS = 3.0
"""Questions are asked for so long before those that count: the lanes' shares have found their level. A guess."""

ALONE, WITHOUT, WITH = KINDS = ("alone", "lanes_off", "lanes_on")

SETTINGS = f"""
[ocsp]
live_sessions = {LIVE_SESSIONS}

[lanes]
enabled = true
parallel = {PARALLEL}
"""


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured."""

    kind: str
    """One of `KINDS`."""
    questions: list[Asked]
    issued_per_second: float
    """Signatures of the workers."""
    signed_per_second: float
    """Of all processes."""
    session_seconds: float
    """From one signature of a worker's session to its next: the lower quartile. A call, where nothing was between."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, print its JSON; fail where the objective is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2, help="of each kind")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured in each round")
    parser.add_argument("--sessions", type=int, default=PARALLEL // WORKERS, help="of each worker")
    parser.add_argument("--entities", type=int, help="of the run; as many as the rounds can need without it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    directory = Path(tempfile.mkdtemp(prefix="bench-lanes-"))
    try:
        rounds = measure(directory, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    result: dict[str, Any] = {
        **{kind: figures([one for one in rounds if one.kind == kind]) for kind in KINDS},
        "objective_p99_ms": OBJECTIVE_MS,
        "questions_per_second": QUESTIONS_PER_SECOND,
        "sessions": WORKERS * options.sessions,
        "load_after": [round(load, 2) for load in os.getloadavg()],
        "machine": machine,
        "command": " ".join(sys.argv),
    }
    result["met"] = result[WITH]["latency"]["p99_ms"] < OBJECTIVE_MS
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "machine"}, indent=2))
    if not result["met"]:
        raise SystemExit(1)


def measure(directory: Path, options: argparse.Namespace) -> list[Round]:
    """Make the home and a run, and measure in turns."""
    home = prepare_home(directory, CERTIFICATES, settings=SETTINGS)
    run = plan(directory, home, options.entities or entities_for(options))
    home.hsm.latency("C_Sign", int(CALL_SECONDS * 1e6))
    home.hsm.cap_parallel(PARALLEL)
    return [measure_round(home, run, options, kind) for _ in range(options.rounds) for kind in KINDS]


def entities_for(options: argparse.Namespace) -> int:
    """Two certificates an entity; the HSM signs no more than its places allow."""
    seconds = options.seconds + 2 * SETTLING_SECONDS
    return int(2 * options.rounds * seconds * PARALLEL / CALL_SECONDS / 2)


def plan(directory: Path, home: PreparedHome, entities: int, first: int = FIRST_NUMBER) -> int:
    """Plan a run of so many entities, whose numbers begin with one."""
    register, cards = directory / "register.jsonl", directory / "card-keys"
    write_register(register, entities, first)
    files = ("--home", home.path, "--register", register)
    sealmint("card-centre", "simulate", *files, "--out", cards, "--synthetic")
    return int(sealmint("run", "plan", *files, "--card-keys", cards, "--policy", "all-companies")["run"])


def measure_round(home: PreparedHome, run: int, options: argparse.Namespace, kind: str) -> Round:
    """Serve and, unless alone, issue; measure for a while; stop both."""
    set_lanes(home.path, on=kind != WITHOUT)
    home.hsm.log_path.unlink(missing_ok=True)
    with served(home) as at, ExitStack() as beside:
        workers: set[int] = set()
        supervisor = None
        if kind != ALONE:
            supervisor = beside.enter_context(issuing(home, run, options.sessions))
            workers = wait_until_signing(home, supervisor)
        began = time.monotonic_ns() + int(SETTLING_SECONDS * 1e9)
        seconds = SETTLING_SECONDS + options.seconds
        questions = trio.run(ask_in_open_loop, at, QUESTIONS_PER_SECOND, seconds, CONNECTIONS)
        del questions[: round(SETTLING_SECONDS * QUESTIONS_PER_SECOND)]
        ended = began + int(options.seconds * 1e9)
        if supervisor is not None and supervisor.poll() is not None:
            raise SystemExit("the run ended before the round did; give it more --entities")
    signed = [one for one in home.hsm.signatures() if began <= one.time_ns < ended]
    issued = [one for one in signed if one.process in workers]
    issued_per_second, signed_per_second = len(issued) / options.seconds, len(signed) / options.seconds
    return Round(kind, questions, issued_per_second, signed_per_second, session_seconds(issued))


def session_seconds(signed: Sequence[Any]) -> float:
    """The lower quartile of the times from one signature of a session to its next."""
    last: dict[tuple[int, int], int] = {}
    between = []
    for one in signed:
        before = last.get((one.process, one.session))
        if before is not None:
            between.append(one.time_ns - before)
        last[one.process, one.session] = one.time_ns
    return sorted(between)[len(between) // 4] / 1e9 if between else float("nan")


def set_lanes(home: Path, on: bool) -> None:
    """Write the setting that a round is about."""
    path = home / "sealmint.toml"
    other, wanted = (f"[lanes]\nenabled = {str(value).lower()}" for value in (not on, on))
    path.write_text(path.read_text().replace(other, wanted))


@contextmanager
def issuing(home: PreparedHome, run: int, sessions: int) -> Iterator[subprocess.Popen[bytes]]:
    """Work a run off until the block ends; it is paused then."""
    command = [*SEALMINT, "run", "start", str(run), "--home", str(home.path), "--json"]
    command += ["--workers", str(WORKERS), "--sessions", str(sessions)]
    supervisor = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        yield supervisor
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(timeout=120)


def wait_until_signing(home: PreparedHome, supervisor: subprocess.Popen[bytes]) -> set[int]:
    """Wait until every worker has signed; return their process numbers."""
    until = time.monotonic() + 60
    while time.monotonic() < until and supervisor.poll() is None:
        workers = children_of(supervisor.pid)
        if len(workers) == WORKERS and workers <= {one.process for one in home.hsm.signatures()}:
            return workers
        time.sleep(0.2)
    raise SystemExit("the run did not begin")


def children_of(process: int) -> set[int]:
    """The worker processes of a supervisor (proc(5): each thread lists those that it started)."""
    threads = Path(f"/proc/{process}/task").iterdir()
    children = {int(child) for thread in threads for child in (thread / "children").read_text().split()}
    return {child for child in children if b"engine.issuance.worker" in command_line(child)}


def command_line(process: int) -> bytes:
    """The arguments of a process, none if it is gone."""
    path = Path(f"/proc/{process}/cmdline")
    return path.read_bytes() if path.exists() else b""


def figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """The questions of all rounds together; what issuance had in each."""
    questions = [question for one in rounds for question in one.questions]
    outcomes = [question.outcome for question in questions]
    good = [question for question, outcome in zip(questions, outcomes, strict=True) if outcome == "good"]
    return {
        "latency": milliseconds([question.latency for question in good]),
        "latency_by_round": [milliseconds([q.latency for q in one.questions]) for one in rounds],
        "late_ms": milliseconds([question.sent - question.intended for question in good]),
        "questions": len(questions),
        "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "issued_per_second": round(sum(one.issued_per_second for one in rounds) / len(rounds), 1),
        "issued_by_round": [round(one.issued_per_second, 1) for one in rounds],
        "signed_by_round": [round(one.signed_per_second, 1) for one in rounds],
        "session_ms_by_round": [
            round(one.session_seconds * 1e3, 2) for one in rounds if one.issued_per_second
        ],
    }


if __name__ == "__main__":
    main()
