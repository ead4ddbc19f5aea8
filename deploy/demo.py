"""The demonstration: a development CA issues to 933 real companies, and OpenSSL verifies every certificate.

It does what a person would type, shows the commands, and starts from what is there when it is called again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
REGISTER = PROJECT / "engine" / "register" / "samples" / "listed-companies.jsonl"
SEALMINT = [sys.executable, "-P", "-m", "engine.cli.main"]
VERIFIED_AT_ONCE = 500
"""Certificates given to one call of `openssl verify`; far below the length of a command line."""


def main() -> None:
    """Run the demonstration; exit 0 when every certificate verified."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    home: Path = parser.parse_args().home
    began = time.monotonic()
    heading("A home: token, keys, a development root and the CA under it")
    sealmint("init", "--home", str(home))
    cards = home / "demo-card-keys"
    if not (cards / "manifest.json").exists():
        heading("The development card centre makes two RSA-2048 key pairs for each company's card")
        sealmint(
            "card-centre", "simulate", "--home", str(home), "--register", name(REGISTER), "--out", str(cards)
        )
    run = planned_run(home, cards)
    if run is not None:
        heading("Issuing: every TBS checked and reserved before it is signed, every signature verified")
        sealmint("run", "start", run, "--home", str(home))
    heading("Every certificate, verified by OpenSSL against the chain")
    runs = ask("run", "status", "--home", str(home))["runs"]
    verified = sum(verify(home, document) for document in runs if document["issued"])
    heading("The audit log")
    sealmint("audit", "verify", "--home", str(home))
    summary(home, verified, time.monotonic() - began)


def planned_run(home: Path, cards: Path) -> str | None:
    """Plan a run, or find the one that an earlier demonstration left unfinished."""
    for document in ask("run", "status", "--home", str(home))["runs"]:
        if document["pending"]:
            return str(document["run"])
    heading("The plan: who gets a card, by policy")
    files = ("--register", name(REGISTER), "--card-keys", str(cards), "--policy", "all-companies")
    show("run", "plan", "--home", str(home), *files)
    plan = ask("run", "plan", "--home", str(home), *files)
    for total in ("rows", "eligible", "rejected", "merged", "already_held", "items"):
        print(f"  {total.replace('_', ' '):13} {plan[total]:6,}")
    if plan["items"]:
        return str(plan["run"])
    print("  every company holds its card already: nothing is issued twice")
    return None


def verify(home: Path, document: dict[str, Any]) -> int:
    """Export a run's certificates and let OpenSSL verify each; return how many there are."""
    out = home / f"demo-certificates-{document['run']}"
    exported = ask("cert", "export", "--home", str(home), "--run", document["run"], "--out", str(out))
    files = iter(sorted(out.glob("*.der")))
    verified = 0
    while batch := list(islice(files, VERIFIED_AT_ONCE)):
        arguments = [
            "openssl",
            "verify",
            "-CAfile",
            str(out / "root.pem"),
            "-untrusted",
            str(out / "chain.pem"),
        ]
        finished = subprocess.run([*arguments, *map(str, batch)], capture_output=True, text=True, check=False)
        good = sum(line.endswith(": OK") for line in finished.stdout.splitlines())
        if finished.returncode != 0 or good != len(batch):
            sys.exit(f"OpenSSL refused a certificate:\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
        verified += good
    if verified != exported["certificates"]:
        sys.exit(f"{exported['certificates']} certificates were exported, but {verified} are in {out}")
    print(f"  run {document['run']}: openssl verify says OK to {verified:,} of {exported['certificates']:,}")
    return verified


def summary(home: Path, verified: int, seconds: float) -> None:
    """Say what there is now and what to try next."""
    heading("Done")
    print(
        f"  {verified:,} certificates for 933 companies, each verified by OpenSSL, in {seconds:.0f} s; home: {home}"
    )
    print("\nNext, try:")
    for arguments in (
        ("cert", "show", "22099131"),
        ("run", "report", "1"),
        ("run", "status"),
        ("card-centre", "deliver", "--run", "1", "--out", str(home / "delivery")),
        ("token", "check"),
        ("audit", "verify", "--json"),
        ("--help",),
    ):
        tail = [] if arguments == ("--help",) else ["--home", str(home)]
        print("  .venv/bin/sealmint", shlex.join([*arguments, *tail]))


def heading(text: str) -> None:
    """Print what comes next."""
    print(f"\n== {text}", flush=True)


def show(*arguments: str) -> None:
    """Show a command as a person would type it."""
    print("$ sealmint", shlex.join(arguments), flush=True)


def sealmint(*arguments: str) -> None:
    """Show a command and run it; its output is seen, and its failure is ours."""
    show(*arguments)
    finished = subprocess.run([*SEALMINT, *arguments], check=False)
    if finished.returncode != 0:
        sys.exit(finished.returncode)


def ask(*arguments: str) -> dict[str, Any]:
    """Run a command for its JSON."""
    finished = subprocess.run([*SEALMINT, *arguments, "--json"], stdout=subprocess.PIPE, check=False)
    if finished.returncode != 0:
        sys.exit(finished.returncode)
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def name(path: Path) -> str:
    """Return a path as short as a person would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    main()
