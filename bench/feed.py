"""The feed: a public host from nothing, and how soon a change is visible there.

    python -m bench.feed [--cards N] [--change-cards N] [--seconds S] [--rate R] [--json FILE]

First: a home with N cards of two certificates, each with an answer, is served by `sealmint feed serve`, and
`sealmint feed pull` copies it to a public home that has nothing. The baseline, before and after it in the same run, is
the same copy made on the CA host, straight out of the record (`sealmint ocsp rebuild`): what is left is the price of
signing, TLS and verifying every answer.

Then: a smaller home signs and serves, `sealmint feed pull --follow` keeps a public home up, `sealmint serve` answers
from it, and certificates are revoked at a steady rate. Of some the time is taken from the acknowledgement on the
CA host until the public host gives no "good" any more, and until it gives the new answer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from bench.feed_hosts import MemoryWatch, command, join
from bench.machine import describe_machine
from bench.ocsp_changes import measure
from bench.ocsp_home import served_home
from bench.sealmint_command import SEALMINT, sealmint
from bench.synthetic_answers import add_answers
from bench.synthetic_certificates import add_certificates
from engine.cli.opening import open_context
from engine.config import load_host_configuration
from engine.status.status_store import StatusReader

ANY_PORT = "127.0.0.1:0"
MEBI = 1 << 20
SAMPLE = 1_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cards", type=int, default=100_000, help="0: leave the first part out")
    parser.add_argument("--change-cards", type=int, default=10_000, help="0: leave the second part out")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=50, help="changes a second")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"machine": describe_machine(), "command": " ".join(sys.argv)}
    directory = Path(tempfile.mkdtemp(prefix="bench-feed-"))
    try:
        if options.cards:
            result["from_nothing"] = from_nothing(directory / "large", options.cards)
        if options.change_cards:
            result["changes"] = changes(directory, options)
    finally:
        shutil.rmtree(directory)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "machine"}, indent=2))


def from_nothing(home: Path, cards: int) -> dict[str, Any]:
    """Measure a copy from nothing."""
    sealmint("init", "--home", home)
    with open_context(home) as context:
        serials = add_certificates(context, cards)
        add_answers(context)
    public_home = home.with_name("public")
    join(home, public_home)
    rebuilt = [_rebuild(home)]
    with command("feed", "serve", "--home", home, "--listen", ANY_PORT) as (server, told):
        began = time.monotonic()
        pull = subprocess.Popen(
            [*SEALMINT, "feed", "pull", "--home", str(public_home), "--from", told["feed"]]
        )
        with MemoryWatch(server.pid) as source, MemoryWatch(pull.pid) as copy:
            if pull.wait() != 0:
                raise SystemExit("the public host could not copy the feed")
        seconds = time.monotonic() - began
    rebuilt.append(_rebuild(home))
    return {
        "certificates": 2 * cards,
        "seconds": round(seconds, 1),
        "certificates_per_second": round(2 * cards / seconds),
        "rebuild_seconds": [round(one, 1) for one in rebuilt],
        "times_rebuild": round(seconds / min(rebuilt), 2),
        "source_own_mib": round(source.own / MEBI),
        "copy_own_mib": round(copy.own / MEBI),
        "copy_mapped_mib": round(copy.mapped / MEBI),
        "answers_missing_in_sample": _missing(public_home, serials),
    }


def _rebuild(home: Path) -> float:
    began = time.monotonic()
    sealmint("ocsp", "rebuild", "--home", home)
    return time.monotonic() - began


def _missing(public_home: Path, serials: list[bytes]) -> int:
    """How many of a sample of certificates the public host has no answer for."""
    store = Path(load_host_configuration(public_home).ocsp.status_store)
    now = int(time.time())
    with StatusReader(store) as reader:
        sample = serials[:: max(1, len(serials) // SAMPLE)]
        return sum(reader.presigned(0, serial, now) is None for serial in sample)


def changes(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure how soon changes are visible on the public host."""
    with served_home(directory, 2 * options.change_cards) as inner:
        public_home = directory / "public-of-changes"
        join(inner.path, public_home)
        with (
            command("feed", "serve", "--home", inner.path, "--listen", ANY_PORT) as (_, feed),
            command("feed", "pull", "--home", public_home, "--from", feed["feed"], "--follow"),
            command("serve", "--home", public_home, "--ocsp", ANY_PORT, "--http", ANY_PORT) as (_, told),
        ):
            host, _, port = told["ocsp"].removeprefix("http://").rstrip("/").partition(":")
            public = replace(inner, address=(host, int(port)))
            return {"rate": options.rate, **trio.run(measure, public, options.seconds, options.rate)}


if __name__ == "__main__":
    main()
