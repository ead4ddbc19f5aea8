"""Chains to be damaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from engine.audit.checkpoints import Checkpoint
from engine.audit.events import Event
from engine.audit.log import FIRST_PREVIOUS_HASH, AuditRecord, append_record, record_hash
from engine.audit.verify import Damage, verify_chain
from engine.clock import SetClock
from engine.store.database import Store

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def append(store: Store, clock: SetClock, count: int) -> list[AuditRecord]:
    """Append records about units, a second apart, each in a transaction of its own."""
    records = []
    for number in range(count):
        clock.move(timedelta(seconds=1))
        with store.write() as connection:
            body = {"unit": number, "issued": 512}
            records.append(
                append_record(connection, clock, Event.UNIT_COMPLETED, actor="worker a:1", body=body)
            )
    return records


def made(count: int) -> list[AuditRecord]:
    """Make a whole chain without a store."""
    return rehashed(
        AuditRecord(
            number,
            START + timedelta(seconds=number),
            "worker a:1",
            "unit.completed",
            f'{{"unit":{number}}}',
            b"",
        )
        for number in range(1, count + 1)
    )


def rehashed(records: Iterable[AuditRecord], previous: bytes = FIRST_PREVIOUS_HASH) -> list[AuditRecord]:
    """Chain records as they stand, each to the one before, as whoever rewrites a chain would."""
    chained = []
    for record in records:
        previous = record_hash(previous, record.recorded_at, record.actor, record.event, record.body)
        chained.append(replace(record, hash=previous))
    return chained


def renumbered(records: Iterable[AuditRecord]) -> list[AuditRecord]:
    """Number records as they stand."""
    return [replace(record, sequence=number) for number, record in enumerate(records, 1)]


def stranger(previous: bytes) -> AuditRecord:
    """A record that never was, rightly chained to a hash."""
    record = AuditRecord(0, START, "worker b:2", "unit.completed", '{"unit":0}', b"")
    return rehashed([record], previous)[0]


def found(
    records: Sequence[AuditRecord],
    *,
    head: tuple[int, bytes] | None = None,
    checkpoints: Iterable[Checkpoint] = (),
) -> list[tuple[Damage, int]]:
    """What verification says of records whose head was made to agree, unless another head is given."""
    head = head or (records[-1].sequence, records[-1].hash)
    return [(finding.damage, finding.sequence) for finding in verify_chain(records, head, checkpoints)]
