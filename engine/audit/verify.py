"""Verifying the audit chain: which record was changed, removed, inserted or moved (CPS 4.5.4, 4.5.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import orjson
from sqlalchemy import Connection, select

from engine.audit.checkpoints import Checkpoint
from engine.audit.log import FIRST_PREVIOUS_HASH, AuditRecord, record_hash
from engine.errors import SignatureInvalid
from engine.store.schema import audit_head, audit_record

VerifySignature = Callable[[bytes, bytes, bytes], None]
"""Given key identifier, statement and signature, raises SignatureInvalid unless the audit key made it."""


class Damage(Enum):
    """What was done to the chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    MOVED = "moved"
    CUT_OFF = "cut-off"
    REWRITTEN = "rewritten"
    CHECKPOINT_FORGED = "checkpoint-forged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of damage and the record it was found at."""

    damage: Damage
    sequence: int
    detail: str


def verify_chain(
    records: Iterable[AuditRecord], head: tuple[int, bytes] | None, checkpoints: Iterable[Checkpoint]
) -> list[Finding]:
    """Walk the chain from its first record to its last.

    Args:
        records: every record in the order of its sequence number.
        head: sequence and hash that the head row names, None where there is none.
        checkpoints: checkpoints whose signatures were verified, from the database and from files kept elsewhere.

    Returns:
        What was found, in the order of the records; empty for a whole chain.
    """
    walk = _Walk({checkpoint.sequence: checkpoint for checkpoint in checkpoints})
    for record, following in _pairs(records):
        walk.step(record, following)
    walk.finish(head)
    return walk.findings


class _Walk:
    """Where the walk stands: the hash that the next record must be chained to, and what was found so far."""

    def __init__(self, checkpoints: dict[int, Checkpoint]) -> None:
        self.findings: list[Finding] = []
        self._checkpoints = checkpoints
        self._hash = FIRST_PREVIOUS_HASH
        self._sequence = 0
        self._strangers: list[AuditRecord] = []

    def step(self, record: AuditRecord, following: AuditRecord | None) -> None:
        if record.sequence != self._sequence + 1:
            self._report(
                Damage.REMOVED,
                self._sequence + 1,
                f"records {self._sequence + 1} to {record.sequence - 1} are missing",
            )
            self._advance(record)
            return
        if _follows(self._hash, record):
            self._advance(record)
        elif following is not None and _follows(record.hash, following):
            self._changed_or_misplaced(record)
        elif following is not None and _follows(self._hash, following):
            self._report(Damage.INSERTED, record.sequence, "the records around it fit each other without it")
            self._strangers.append(record)
            self._sequence = record.sequence
        else:
            self._changed_or_misplaced(record)

    def _changed_or_misplaced(self, record: AuditRecord) -> None:
        for stranger in self._strangers:
            if _follows(self._hash, stranger) and _follows(stranger.hash, record):
                self._strangers.remove(stranger)
                self._report(Damage.MOVED, stranger.sequence, f"it belongs before record {record.sequence}")
                self._advance(record)
                return
        self._report(
            Damage.CHANGED,
            record.sequence,
            "its content does not match its hash, or a record before it was taken out",
        )
        self._advance(record)

    def _advance(self, record: AuditRecord) -> None:
        self._hash = record.hash
        self._sequence = record.sequence
        checkpoint = self._checkpoints.pop(record.sequence, None)
        if checkpoint is not None and orjson.loads(checkpoint.statement)["hash"] != record.hash.hex():
            self._report(
                Damage.REWRITTEN,
                record.sequence,
                "the chain is consistent with itself but not with the checkpoint signed here",
            )

    def finish(self, head: tuple[int, bytes] | None) -> None:
        if head is not None and head[0] != self._sequence:
            self._report(
                Damage.CUT_OFF,
                self._sequence + 1,
                f"the chain ends at {self._sequence}, its head says {head[0]}",
            )
        elif head is not None and head[1] != self._hash:
            self._report(Damage.CHANGED, self._sequence, "the head of the chain names another hash")
        for sequence in sorted(self._checkpoints):
            self._report(
                Damage.CUT_OFF, sequence, f"a signed checkpoint covers record {sequence}, which is not there"
            )

    def _report(self, damage: Damage, sequence: int, detail: str) -> None:
        self.findings.append(Finding(damage, sequence, detail))


def _follows(previous_hash: bytes, record: AuditRecord) -> bool:
    return record.hash == record_hash(
        previous_hash, record.recorded_at, record.actor, record.event, record.body
    )


def _pairs(records: Iterable[AuditRecord]) -> Iterator[tuple[AuditRecord, AuditRecord | None]]:
    iterator = iter(records)
    current = next(iterator, None)
    while current is not None:
        following = next(iterator, None)
        yield current, following
        current = following


def verify_checkpoints(
    checkpoints: Iterable[Checkpoint], verify: VerifySignature
) -> tuple[list[Checkpoint], list[Finding]]:
    """Tell the checkpoints that the audit key signed from those it did not."""
    good: list[Checkpoint] = []
    findings: list[Finding] = []
    for checkpoint in checkpoints:
        try:
            verify(checkpoint.key_identifier, checkpoint.statement, checkpoint.signature)
        except SignatureInvalid as error:
            findings.append(Finding(Damage.CHECKPOINT_FORGED, checkpoint.sequence, str(error)))
        else:
            good.append(checkpoint)
    return good, findings


def stored_records(connection: Connection) -> Iterator[AuditRecord]:
    """Yield every record of the database in the order of its sequence number, in constant memory."""
    rows = connection.execution_options(yield_per=1_000).execute(
        select(audit_record).order_by(audit_record.c.sequence)
    )
    for row in rows:
        yield AuditRecord(row.sequence, row.recorded_at, row.actor, row.event, row.body, row.hash)


def stored_head(connection: Connection) -> tuple[int, bytes] | None:
    """Return sequence and hash that the head row names."""
    row = connection.execute(select(audit_head.c.sequence, audit_head.c.hash)).one_or_none()
    return None if row is None else (row.sequence, row.hash)
