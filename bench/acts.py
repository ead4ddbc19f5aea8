"""A file of acts: how long the command takes that revokes ten thousand certificates.

    python -m bench.acts [--acts 10000] [--certificates 200000] [--json FILE]

A home of its own is made and synthetic certificates are put into its store, two a card, the cards primary ones. A file
names so many of them at random; `sealmint cert revoke --file` runs as a process of its own, and is timed from its
start to its end: reading, judging, writing, releasing cards, audit, every commit durable.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bench.machine import describe_machine
from bench.sealmint_command import sealmint
from bench.synthetic_certificates import add_certificates
from engine.cli.opening import open_context

GOAL_SECONDS = 10.0
"""For ten thousand certificates in one file."""

SEED = 20_261_124


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, write its JSON, and fail when the goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--acts", type=int, default=10_000)
    parser.add_argument("--certificates", type=int, default=200_000)
    parser.add_argument(
        "--directory", type=Path, help="where the home is made; a temporary directory without it"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="bench-acts-", dir=options.directory))
    machine = describe_machine()
    try:
        result = measure(directory, options.acts, options.certificates)
    finally:
        shutil.rmtree(directory)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result | {"machine": machine}, indent=2) + "\n")
    if result["seconds_per_10000"] > GOAL_SECONDS:
        sys.exit(f"{result['seconds_per_10000']} s for 10,000 acts: the goal is {GOAL_SECONDS}")


def measure(directory: Path, acts: int, certificates: int) -> dict[str, Any]:
    """Fill a store, revoke by a file, and put the figures together."""
    home = directory / "home"
    sealmint("init", "--home", home)
    with open_context(home) as context:
        serials = add_certificates(context, certificates // 2)
        with context.store.write() as connection:
            connection.execute(
                text("INSERT INTO primary_card_claim (entity_id, card_id) SELECT entity_id, id FROM card")
            )
    path = directory / "acts.csv"
    chosen = random.Random(SEED).sample(serials, acts)  # seeded, so that two runs do the same
    path.write_text("serial\n" + "".join(f"{serial.hex()}\n" for serial in chosen))
    begin = time.monotonic()
    report = sealmint("cert", "revoke", "--file", path, "--ground", "not-needed", "--home", home)
    seconds = time.monotonic() - begin
    if (report["touched"], report["failed"]) != (acts, 0):
        raise RuntimeError(f"{report['touched']} revoked, {report['failed']} failed, of {acts}")
    return {
        "acts": acts,
        "certificates_in_store": certificates,
        "seconds": round(seconds, 2),
        "seconds_per_10000": round(seconds * 10_000 / acts, 2),
        "acts_per_second": round(acts / seconds),
    }


if __name__ == "__main__":
    main()
