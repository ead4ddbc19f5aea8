"""What a certificate costs the record, by how many it holds already.

    python -m bench.store_size [--sizes 100000 1000000 5000000] [--postgresql] [--json FILE]

A record is filled with synthetic rows, through the statements that planning and issuing use, without a token: keys,
TBSs and signatures are random octets of a real one's length. At each size the same work is measured, in the same record
as it grows:

    plan      a card of two certificates planned: rows and claims
    issue     a certificate of a work unit of 256 that is leased, reserved, completed, with its audit records
    serial, number, name
              a certificate found by each
    crl       an entry of a partition's CRL, one in a hundred certificates being revoked

Figures are microseconds of elapsed time for one; the ratio is to the first size. Measured on the disk that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, select

from bench.machine import describe_machine
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import SystemClock
from engine.store.bulk_append import append
from engine.store.certificates import (
    Reserved,
    Signed,
    certificate_by_serial,
    certificates_of_entity,
    certificates_of_name,
    complete,
    reserve,
    unit_items,
)
from engine.store.crl_entries import full_entries
from engine.store.database import Store, open_store
from engine.store.migration import migrate
from engine.store.plans import PlannedCard, PlannedEntity, PlannedKey, append_cards, append_unit, claim_keys
from engine.store.schema import crl_entry, crl_partition, run, to_microseconds
from engine.store.standings import raise_revisions_of_unit
from engine.store.status_changes import ChangeKind, append_changes
from engine.store.work_units import lease_next, mark_completed, mark_reserved
from tests.postgresql_server import running_server

SIZES = (100_000, 1_000_000, 5_000_000)
UNIT = 256
PARTITION = 50_000
"""Certificates of a CRL partition, as the shipped policy has it."""

UNITS_AT_ONCE = 40
"""Units planned in one transaction while filling: about what planning does."""

TBS_OCTETS, SIGNATURE_OCTETS, KEY_OCTETS = 1_130, 256, 294
"""Of an RSA-2048 certificate of the shipped profiles."""

MEASURED_PLANS, MEASURED_LISTS = 3, 9
"""Of which the median counts: other work on the machine spoils some."""

QUESTIONS = 400
REVOKED_SHARE = 100
"""One certificate in so many is on the CRL."""

NOT_AFTER: Final = to_microseconds(datetime(2031, 11, 23, tzinfo=UTC))


class SyntheticRecord:
    """A record that grows by synthetic certificates.

    Args:
        store: migrated and empty.
        seed: of everything random.
    """

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.clock = SystemClock()
        self.certificates = 0
        self.cards = 0
        self.serials: list[bytes] = []
        with store.write() as connection:
            connection.execute(
                insert(run).values(
                    id=1,
                    state="running",
                    policy_name="synthetic",
                    policy_text="",
                    legal_basis="",
                    register_name="",
                    register_digest=b"",
                    card_keys_digest=b"",
                    issuer_key_identifier=b"",
                    created_at=self.clock.now(),
                )
            )

    def grow_to(self, size: int) -> None:
        """Add units until there are so many certificates."""
        while self.certificates < size:
            self.plan(UNITS_AT_ONCE)
            self.issue(UNITS_AT_ONCE, recorded=False)

    def plan(self, units: int) -> int:
        """Plan units as planning does, in one transaction; return how many cards."""
        cards = units * UNIT // 2
        with self.store.write() as connection:
            partition = 1 + self.certificates // PARTITION
            self._open_partition(connection, partition)
            planned = [self._card(place) for place in range(cards)]
            numbers = append_cards(connection, 1, planned)
            keyed = [(number, key) for number, one in zip(numbers, planned, strict=True) for key in one.keys]
            claims = []
            for start in range(0, len(keyed), UNIT):
                claims += append_unit(connection, 1, partition, keyed[start : start + UNIT])[1]
            claim_keys(connection, sorted(claims))
        self.cards += cards
        return cards

    def _open_partition(self, connection: Any, number: int) -> None:
        if connection.execute(select(crl_partition.c.id).where(crl_partition.c.id == number)).first() is None:
            values = {
                "id": number,
                "issuer_key_identifier": b"",
                "number": number,
                "allotted": 0,
                "issued": 0,
            }
            connection.execute(
                insert(crl_partition).values(**values, uri=f"http://crl/{number}", complete_uri="http://crl")
            )

    def _card(self, place: int) -> PlannedCard:
        number = self.cards + place + 1
        holder = PlannedEntity(
            entity_id=number,
            kind="company",
            identifier=f"{number:08d}",
            name=name_of(number),
            unit_name=None,
            county=None,
            subscriber_number=f"S{number:012d}",
            is_new=True,
        )
        return PlannedCard(
            holder=holder,
            number=f"MC{number:012d}",
            rank="primary",
            carrier="card",
            subject=self.random.randbytes(90),
            uniform_number=f"{number:08d}",
            keys=tuple(self._keys()),
        )

    def _keys(self) -> Iterator[PlannedKey]:
        for usage in ("signature", "encryption"):
            key = self.random.randbytes(KEY_OCTETS)
            yield PlannedKey(usage=usage, public_key=key, key_digest=hashlib.sha256(key).digest())

    def issue(self, units: int, *, recorded: bool = True) -> int:
        """Carry units through their transactions; return how many certificates."""
        issued = 0
        for _ in range(units):
            issued += self._issue_unit(recorded)
        self.certificates += issued
        return issued

    def _issue_unit(self, recorded: bool) -> int:
        """As a worker does it: one transaction leases, one reserves, one completes."""
        now, until = self.clock.now(), self.clock.now() + timedelta(minutes=2)
        with self.store.write() as connection:
            lease = lease_next(connection, 1, holder="bench", now=now, until=until, reserved_only=False)
        if lease is None:
            raise RuntimeError("a planned unit can be leased")
        with self.store.read() as connection:
            items = unit_items(connection, lease.unit_id)
        # Serials begin with the time, as issuing makes them: neighbours in time are neighbours in the index.
        began = time.time_ns().to_bytes(8, "big")
        reserved = [
            Reserved(
                one.item_id,
                began + place.to_bytes(2, "big") + self.random.randbytes(6),
                NOT_AFTER,
                self.random.randbytes(TBS_OCTETS),
            )
            for place, one in enumerate(items)
        ]
        with self.store.write() as connection:
            mark_reserved(connection, lease, until)
            reserve(connection, reserved)
            if recorded:
                append_record(
                    connection, self.clock, Event.UNIT_RESERVED, actor="bench", body={"unit": lease.unit_id}
                )
        signed = [Signed(one.item_id, NOT_AFTER, self.random.randbytes(SIGNATURE_OCTETS)) for one in reserved]
        with self.store.write() as connection:
            mark_completed(connection, lease, issued=len(signed), failed=0)
            complete(connection, lease.partition_id, signed)
            append_changes(connection, ChangeKind.ISSUED, [lease.unit_id], now)
            raise_revisions_of_unit(connection, lease.unit_id, now)
            if recorded:
                append_record(
                    connection, self.clock, Event.UNIT_COMPLETED, actor="bench", body={"unit": lease.unit_id}
                )
            listed = [
                (lease.partition_id, one.item_id, one.serial, NOT_AFTER, to_microseconds(now), 1, None)
                for one in reserved[::REVOKED_SHARE]
            ]
            columns = ("partition_id", "item_id", "serial", "not_after", "since", "reason", "invalidity_at")
            append(connection, crl_entry, columns, listed)
        self.serials.append(self.random.choice(reserved).serial)
        return len(signed)


def name_of(number: int) -> str:
    """A made-up name, another one for each number."""
    return f"合成第{number}號股份有限公司"


def measure(record: SyntheticRecord) -> dict[str, float]:
    """Return microseconds for one of each kind of work, at the record's present size."""

    def timed(work: Callable[[], int], times: int) -> float:
        spent = []
        for _ in range(times):
            began = time.perf_counter()
            count = work()
            spent.append((time.perf_counter() - began) / count)
        return statistics.median(spent) * 1e6

    def asked(question: Callable[[Any, int], object]) -> float:
        spent = []
        with record.store.read() as connection:
            for _ in range(QUESTIONS):
                number = record.random.randint(1, record.cards)
                began = time.perf_counter()
                if not question(connection, number):
                    raise RuntimeError(f"certificate {number} was not found")
                spent.append(time.perf_counter() - began)
        return statistics.median(spent) * 1e6

    figures = {"plan": timed(lambda: record.plan(UNITS_AT_ONCE), MEASURED_PLANS)}
    figures["issue"] = timed(lambda: record.issue(1), UNITS_AT_ONCE * MEASURED_PLANS)
    figures["serial"] = asked(
        lambda connection, _: certificate_by_serial(connection, record.random.choice(record.serials))
    )
    figures["number"] = asked(lambda connection, number: certificates_of_entity(connection, f"{number:08d}"))
    figures["name"] = asked(lambda connection, number: certificates_of_name(connection, name_of(number), 10))
    figures["crl"] = timed(lambda: _listed(record), MEASURED_LISTS)
    return figures


def _listed(record: SyntheticRecord) -> int:
    partition = max(1, record.certificates // PARTITION)  # the newest full one
    with record.store.read() as connection:
        return sum(len(rows) for rows in full_entries(connection, [partition], None))


def curve(store: Store, sizes: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Fill a record and measure it at each size."""
    record = SyntheticRecord(store, seed)
    points: list[dict[str, Any]] = []
    first: dict[str, float] = {}
    for size in sizes:
        began = time.perf_counter()
        record.grow_to(size)
        filled = time.perf_counter() - began
        figures = {name: round(value, 1) for name, value in measure(record).items()}
        first = first or figures
        ratios = {name: round(value / first[name], 2) for name, value in figures.items()}
        points.append(
            {"certificates": size, "microseconds": figures, "ratio": ratios, "fill_seconds": round(filled)}
        )
        print(json.dumps(points[-1]), file=sys.stderr)
    return points


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument(
        "--postgresql", action="store_true", help="a PostgreSQL server of its own instead of SQLite"
    )
    parser.add_argument(
        "--directory", type=Path, help="where the SQLite file is made; a temporary directory without it"
    )
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    machine = describe_machine()
    with ExitStack() as opened:
        if options.postgresql:
            server = opened.enter_context(running_server(durable=True))
            url = server.url(server.new_database())
        else:
            directory = tempfile.mkdtemp(prefix="bench-store-size-", dir=options.directory)
            opened.callback(shutil.rmtree, directory)
            url = f"sqlite:///{directory}/store.sqlite"
        store = open_store(url)
        opened.callback(store.close)
        migrate(store)
        points = curve(store, options.sizes, options.seed)
    result = {"seed": options.seed, "database": url.partition(":")[0], "points": points, "machine": machine}
    text = json.dumps(result, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
