"""One large CRL: what a process spends that makes and publishes it.

    python -m bench.crl [--entries 1000000] [--json FILE]

A home of its own is made, with a SoftHSM token, and two CRL partitions are filled with entries: one of so many, one
of a tenth. For each a process of its own runs `sealmint crl publish --scope N`; it tells its CPU time and the largest
size it ever had. The files are read back by OpenSSL and by cryptography, and every serial must be there.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from sqlalchemy import insert, select

from bench.machine import describe_machine
from bench.sealmint_command import sealmint
from engine.authority.role_certificates import load_authority
from engine.cli import main as command_line
from engine.config import load_configuration
from engine.home import Home
from engine.metrics.spending import peak_memory_mb
from engine.store.bulk_append import append
from engine.store.database import Store, open_store
from engine.store.schema import crl_entry, crl_partition, to_microseconds

ROOT = Path(__file__).parent.parent
GOALS = {"cpu_s": 6.0, "peak_rss_mb": 150.0}
SAME_MEMORY = 1.1
"""What counts as the same memory for a tenth of the entries: a tenth more."""

REASONS = (0, 1, 3, 4, 5, 5, 5, 6, 9)
INVALIDITY_SHARE = 0.01
ROWS_AT_ONCE = 50_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, write its JSON, and fail when a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument(
        "--directory", type=Path, help="where the home is made; a temporary directory without it"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--publish", nargs=2, metavar=("HOME", "SCOPE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.publish:
        publish_here(*options.publish)
        return
    machine = describe_machine()
    directory = Path(tempfile.mkdtemp(prefix="bench-crl-", dir=options.directory))
    try:
        result = measure(directory / "home", options.entries)
    finally:
        shutil.rmtree(directory)
    result["machine"] = machine
    text = json.dumps(result, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    sys.exit(0 if result["met"] else 1)


def measure(home: Path, entries: int) -> dict[str, Any]:
    """Publish a CRL of so many entries and one of a tenth, and read both back."""
    sealmint("init", "--home", home)
    configuration = load_configuration(home)
    store = open_store(configuration.store.url)
    sizes = {1: entries, 2: entries // 10}
    key_identifier = load_authority(Home(home), configuration).issuer.key_identifier
    for number, size in sizes.items():
        fill(store, key_identifier, number, size)
    large, small = (published(home, store, number) for number in sizes)
    store.close()
    growth = large["peak_rss_mb"] / small["peak_rss_mb"]
    met = all(large[name] < goal for name, goal in GOALS.items()) and growth < SAME_MEMORY
    return {**large, "tenth": small, "memory_growth": round(growth, 3), "goals": GOALS, "met": met}


def fill(store: Store, key_identifier: bytes, number: int, size: int) -> None:
    """Make a partition in which so many certificates are revoked or held."""
    chance = random.Random(number)
    with store.write() as connection:
        connection.execute(
            insert(crl_partition).values(
                id=number,
                issuer_key_identifier=key_identifier,
                number=number,
                uri=f"http://crl.example/{number}.crl",
                complete_uri="http://crl.example/complete.crl",
                allotted=size,
                issued=size,
            )
        )
    for first in range(0, size, ROWS_AT_ONCE):
        with store.write() as connection:
            count = min(ROWS_AT_ONCE, size - first)
            rows = list(entry_rows(chance, number, first, count))
            append(connection, crl_entry, tuple(column.name for column in crl_entry.columns), rows)


def entry_rows(chance: random.Random, partition: int, first: int, count: int) -> Iterator[tuple[Any, ...]]:
    """Yield rows of crl_entry, revoked at any second of the last four years."""
    now = to_microseconds(datetime.now(UTC))
    not_after = now + timedelta(days=700) // timedelta(microseconds=1)
    four_years = timedelta(days=4 * 365) // timedelta(microseconds=1)
    for item in range(first, first + count):
        since = now - chance.randrange(four_years)
        invalidity = since - chance.randrange(10**12) if chance.random() < INVALIDITY_SHARE else None
        serial = b"\x41" + chance.randbytes(15)
        yield partition, item, serial, not_after, since, chance.choice(REASONS), invalidity


def published(home: Path, store: Store, scope: int) -> dict[str, Any]:
    """Let a process publish a scope, and read the CRL back."""
    began = time.monotonic()
    command = [sys.executable, "-m", "bench.crl", "--publish", str(home), str(scope)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    seconds = time.monotonic() - began
    (one,) = json.loads(done.stdout)["published"]
    spent = json.loads(done.stderr.splitlines()[-1])
    file = Path(one["file"])
    with store.read() as connection:
        serials = set(
            connection.execute(select(crl_entry.c.serial).where(crl_entry.c.partition_id == scope)).scalars()
        )
    readers = {"openssl": openssl_serials(file, home), "cryptography": cryptography_serials(file)}
    for reader, found in readers.items():
        if sorted(found) != sorted(serials):
            raise AssertionError(f"{reader} reads other serials in {file} than were stored")
    octets = file.stat().st_size
    return {
        "entries": one["entries"],
        **spent,
        "seconds": round(seconds, 2),
        "octets": octets,
        "octets_per_entry": round(octets / one["entries"], 1),
        "serials_read_back": {reader: len(found) for reader, found in readers.items()},
    }


def openssl_serials(file: Path, home: Path) -> list[bytes]:
    """Let OpenSSL verify a CRL and list its serials."""
    command = ["openssl", "crl", "-inform", "DER", "-in", str(file), "-noout"]
    verdict = subprocess.run(
        [*command, "-CAfile", str(home / "certificates" / "chain.pem")],
        check=True,
        capture_output=True,
        text=True,
    )
    if "verify OK" not in verdict.stderr:
        raise AssertionError(f"OpenSSL: {verdict.stderr}")
    serials = []
    with subprocess.Popen([*command, "-text"], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            before, mark, serial = line.partition("Serial Number: ")
            if mark and not before.strip():
                serials.append(bytes.fromhex(serial))
    return serials


def cryptography_serials(file: Path) -> list[bytes]:
    """Let cryptography list the serials of a CRL."""
    return [entry.serial_number.to_bytes(16, "big") for entry in x509.load_der_x509_crl(file.read_bytes())]


def publish_here(home: str, scope: str) -> None:
    """Publish a scope in this process, and tell on standard error what that took."""
    sys.argv = ["sealmint", "crl", "publish", "--home", home, "--scope", scope, "--json"]
    try:
        command_line.main()
    finally:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        spent = {"cpu_s": round(cpu, 2), "peak_rss_mb": round(peak_memory_mb(), 1)}
        print(json.dumps(spent), file=sys.stderr)


if __name__ == "__main__":
    main()
