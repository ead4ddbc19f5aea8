"""The part of the demonstration that is for operators and load testers.

The token is measured, and what that is enough for; then, while the responders serve, their pools are looked at and a
load test is judged.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.demo_status import PATIENCE_SECONDS, Served
from deploy.shown_commands import SEALMINT, heading, name, sealmint, show

OBJECTIVES = Path(__file__).parent / "demo-objectives.toml"


def measure(home: Path) -> None:
    """Sweep the token, unless an earlier demonstration did, and ask what it is enough for."""
    if not any((home / "capacity").glob("*/sweep.json")):
        heading("The token, measured with a key of its own: a short sweep, for the demonstration")
        sweep = ("--seconds-per-point", "0.4", "--max-sessions", "4", "--batches", "4,64")
        sealmint("pool", "sweep", "--home", str(home), *sweep)
    heading("What that is enough for")
    question = ("--cards", "600000", "--by", "Sunday 18:00", "--nonce-answers", "200")
    sealmint("capacity", "--home", str(home), *question)


def load(home: Path, served: Served) -> None:
    """Look at the pools, and give a load test its verdict."""
    heading("The processes, their sessions and lanes")
    sealmint("pool", "status", "--once", "--home", str(home))
    heading("A load test: arrivals scheduled ahead, answers verified, a verdict by objective")
    arguments = ("--slo", name(OBJECTIVES), "--seconds", "10", "--out", name(home / "demo-load"))
    addresses = ("--ocsp", served.ocsp, "--http", served.http)
    sealmint("load", "mixed-day", "--home", str(home), *arguments, *addresses)


@contextmanager
def operator_page(home: Path) -> Iterator[str]:
    """Serve the operator's page while the block runs; yields its address."""
    arguments = ("operator", "serve", "--home", name(home), "--listen", "127.0.0.1:0")
    show("sealmint", *arguments)
    with (home / "operator.log").open("ab") as log:
        process = subprocess.Popen([*SEALMINT, *arguments, "--json"], stdout=subprocess.PIPE, stderr=log)
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
            if not line:
                sys.exit(f"the operator's page did not start: see {home / 'operator.log'}")
            yield str(json.loads(line)["operator"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
