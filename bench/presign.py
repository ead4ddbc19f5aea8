"""Signing OCSP answers ahead against the token's raw rate, in the same run.

    python -m bench.presign [--cards N] [--signers N] [--sessions N] [--json FILE]

A home of its own with a SoftHSM token and synthetic certificates, two to a card. Pre-signer processes, already at work
as `sealmint serve` has them, sign for all of them; every few seconds they are stopped where they are (SIGSTOP), the raw
rate of the token is measured with a C program on the same module and key, and they go on. Then a certificate of each of
`--revoked` cards is revoked, and the signatures that this makes necessary are measured the same way. The time is from
the first batch recorded to the last one stored, less the time stopped: read, laid out, recorded, signed, verified,
stored, audited, durable.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bench.issuance import raw_rates
from bench.machine import describe_machine
from bench.raw_signer import RawSigner, raw_signer_of
from bench.sealmint_command import sealmint
from bench.synthetic_certificates import add_certificates, cards_of
from engine.authority.context import AuthorityContext
from engine.cli.opening import open_context
from engine.store.schema import CertificateState, ocsp_answer, ocsp_batch, to_microseconds
from engine.store.standings import (
    NewStanding,
    cards_owed_an_answer,
    change_standings,
    standings_of_cards,
)

CESSATION = 5
"""cessationOfOperation (RFC 5280 section 5.3.1)."""


@dataclass
class Phase:
    """What one round of signing took."""

    signatures: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    raw: list[dict[str, float]] = field(default_factory=list)

    @property
    def raw_per_second(self) -> float:
        """The better of the two shapes, over all slices."""
        return max(statistics.fmean(rates[shape] for rates in self.raw) for shape in self.raw[0])

    def figures(self) -> dict[str, Any]:
        """The figures of the round."""
        rate = self.signatures / self.seconds
        return {
            "signatures": self.signatures,
            "seconds": round(self.seconds, 2),
            "signed_per_second": round(rate, 1),
            "raw_per_second": round(self.raw_per_second, 1),
            "ratio": round(rate / self.raw_per_second, 4),
            "cpu_us_per_signature": round(self.cpu_seconds * 1e6 / self.signatures, 1),
            "raw_by_slice": self.raw,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cards", type=int, default=50_000)
    parser.add_argument("--revoked", type=int, default=10_000)
    parser.add_argument("--signers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--slice", type=float, default=2.0, help="seconds between raw measurements")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    directory = Path(tempfile.mkdtemp(prefix="bench-presign-"))
    try:
        result = {**measure(directory / "home", options), "machine": machine, "command": " ".join(sys.argv)}
    finally:
        shutil.rmtree(directory)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "machine"}, indent=2, default=str))


def measure(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make the home, sign for every card, revoke, sign again; return the figures."""
    sealmint("init", "--home", home)
    with open_context(home) as context:
        certificates = 2 * options.cards
        raw = raw_signer_of(context.configuration, context.configuration.keys.ocsp)
        first = sign_after(
            context,
            raw,
            options,
            partial(add_certificates, context, options.cards),
            lambda: options.cards - counted(context)[0],
        )
        answers = counted(context)[0]
        changed = sign_after(
            context, raw, options, partial(revoke, context, options.revoked), partial(owed, context)
        )
    figures = first.figures()
    return {
        "cards": options.cards,
        "certificates": certificates,
        "answers": answers,
        "signatures_per_card": round(first.signatures / options.cards, 4),
        "signatures_per_certificate": round(first.signatures / certificates, 4),
        **figures,
        "after_revocation": changed.figures(),
        "signers": options.signers,
        "sessions": options.sessions,
    }


def sign_after(
    context: AuthorityContext,
    raw: RawSigner,
    options: argparse.Namespace,
    change: Callable[[], object],
    left: Callable[[], int],
) -> Phase:
    """Let signers that are at work meet a change of the record, and measure until they have signed all of it.

    Args:
        context: the home.
        raw: measures the token's own rate in between.
        options: how many signers, and the length of a slice.
        change: makes the work, while the signers are stopped.
        left: how many cards are without their answer.
    """
    signers = [start_signer(context.home.path, place, options) for place in range(options.signers)]
    try:
        for signer in signers:
            wait_until_signing(signer)
        phase = Phase()
        phase.raw.append(stop_and_measure(signers, raw, change))
        before, cpu, began = counted(context)[1], cpu_of(signers), time.time()
        stopped: list[tuple[float, float]] = []
        while True:
            time.sleep(options.slice)
            if not left():
                break
            start = time.time()
            phase.raw.append(stop_and_measure(signers, raw))
            stopped.append((start, time.time()))
        phase.cpu_seconds = cpu_of(signers) - cpu
        phase.signatures = counted(context)[1] - before
    finally:
        for signer in signers:
            signer.terminate()
            signer.wait()
    start, end = batch_times(context, began)
    phase.seconds = end - start - sum(max(0.0, min(b, end) - max(a, start)) for a, b in stopped)
    return phase


def start_signer(home: Path, place: int, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start one pre-signer process, as `sealmint serve` does."""
    command = [sys.executable, "-P", "-m", "engine.status.pre_signer", "--home", str(home)]
    command += ["--share", f"{place}/{options.signers}", "--sessions", str(options.sessions)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until_signing(signer: subprocess.Popen[bytes]) -> None:
    """Wait until a signer has said that its sessions are open."""
    assert signer.stderr is not None
    for line in signer.stderr:
        if b'"event": "signing"' in line:
            return
    raise SystemExit("a signer ended before it signed")


def cpu_of(signers: Sequence[subprocess.Popen[bytes]]) -> float:
    """Return the CPU seconds that the signers have taken so far (proc(5), stat: utime and stime)."""
    used = 0
    for signer in signers:
        fields = Path(f"/proc/{signer.pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def stop_and_measure(
    signers: Sequence[subprocess.Popen[bytes]], raw: RawSigner, meanwhile: Callable[[], object] | None = None
) -> dict[str, float]:
    """Stop the signers, measure the raw rate, let them go on; return the rates.

    A slice in which one of them holds a lock of SoftHSM's is measured again a little later.
    """
    while True:
        for signer in signers:
            signer.send_signal(signal.SIGSTOP)
        try:
            if meanwhile is not None:
                meanwhile()
                meanwhile = None
            return raw_rates(raw)
        except subprocess.TimeoutExpired:
            pass
        finally:
            for signer in signers:
                signer.send_signal(signal.SIGCONT)
        time.sleep(0.05)


def counted(context: AuthorityContext) -> tuple[int, int]:
    """Return how many answers are stored, and how many digests were ever recorded."""
    with context.store.read() as connection:
        answers = connection.execute(select(func.count()).select_from(ocsp_answer)).scalar_one()
        octets = connection.execute(select(func.sum(func.length(ocsp_batch.c.digests)))).scalar_one() or 0
    return answers, octets // 32


def owed(context: AuthorityContext) -> int:
    """Return whether cards are owed an answer: 0 when not."""
    with context.store.read() as connection:
        return len(cards_owed_an_answer(connection, 1))


def batch_times(context: AuthorityContext, after: float) -> tuple[float, float]:
    """Return when the first batch after a time was recorded and the last one stored."""
    with context.store.read() as connection:
        rows = connection.execute(select(ocsp_batch.c.reserved_at, ocsp_batch.c.completed_at)).all()
    times = [(row.reserved_at.timestamp(), row.completed_at.timestamp()) for row in rows]
    new = [(reserved, completed) for reserved, completed in times if reserved >= after]
    return min(reserved for reserved, _ in new), max(completed for _, completed in new)


def revoke(context: AuthorityContext, count: int) -> None:
    """Revoke the first certificate of each of so many cards."""
    done = 0
    for cards in cards_of(context.store, 1_000):
        cards = cards[: count - done]
        if not cards:
            return
        now = context.clock.now()
        with context.store.write() as connection:
            standings = standings_of_cards(connection, cards)
            since = to_microseconds(now)
            revoked = [
                NewStanding(standing.certificates[0], CertificateState.REVOKED, since, CESSATION)
                for standing in standings
            ]
            change_standings(connection, revoked, now)
        done += len(cards)


if __name__ == "__main__":
    main()
