"""The demonstration: a development CA issues to 933 real companies, answers for what it issued, and publishes it.

OpenSSL verifies every certificate; then certificates are accepted, suspended and revoked, and OpenSSL is asked by OCSP
and by CRL, of the CA host and of a public host without keys that copies its feed. In between the token is
measured, and a load test gets its verdict. It does what a person would type, shows the commands, and starts from
what is there when it is called again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from deploy import demo_pool, demo_public
from deploy.demo_status import demonstrate, prepare, responders, stay_up
from deploy.shown_commands import ask, heading, name, sealmint, show

PROJECT = Path(__file__).parent.parent
REGISTER = PROJECT / "engine" / "register" / "samples" / "listed-companies.jsonl"
VERIFIED_AT_ONCE = 500
"""Certificates given to one call of `openssl verify`; far below the length of a command line."""


def main() -> None:
    """Run the demonstration; exit 0 when every certificate verified."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--stay-up", action="store_true", help="leave the responders running until Ctrl-C")
    options = parser.parse_args()
    home: Path = options.home
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
    demo_pool.measure(home)
    shown = prepare(home)
    heading("The responders, on loopback")
    with responders(home) as served:
        demonstrate(home, served, shown)
        demo_pool.load(home, served)
        demo_public.publish(home)
        with demo_public.public_host(home, home.with_name(f"{home.name}-public")) as public:
            demo_public.demonstrate(home, public, shown)
            if options.stay_up:
                with demo_pool.operator_page(home) as page:
                    stay_up(served, public, home, page)
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
    show("sealmint", "run", "plan", "--home", str(home), *files)
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


if __name__ == "__main__":
    main()
