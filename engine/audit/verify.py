"""Verifying the audit chain: which record was changed, removed, inserted or moved (CPS 4.5.4, 4.5.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import orjson
from sqlalchemy import Connection, select

from engine.audit.checkpoints import Checkpoint
from engine.audit.fragments import (
    Fragment,
    FragmentWalk,
    cut_at_parents,
    find_later_parents,
    out_of_order,
    true_chain,
)
from engine.audit.log import HEAD, AuditRecord
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


EXAMINED = 200
"""Fragments that are put together again; of a chain in more pieces than that, the rest is reported as changed. A guess:
damage of that extent is not found out record by record."""


def verify_chain(
    records: Iterable[AuditRecord], head: tuple[int, bytes] | None, checkpoints: Iterable[Checkpoint]
) -> list[Finding]:
    """Walk the chain from its first record to its last.

    Args:
        records: every record in the order of its sequence number.
        head: sequence and hash that the head row names, None where there is none.
        checkpoints: checkpoints whose signatures were verified, from the database and from files kept elsewhere.

    Returns:
        What was found, in the order of the records; empty for a whole chain. Two things leave the same chain behind: a
        changed record whose hash was made anew, and a change in the record after it. The finding names the latter.
    """
    walk = FragmentWalk()
    stated = _Stated(checkpoints)
    for record in records:
        walk.step(record)
        stated.compare(record)
    head_hash = None if head is None else head[1]
    findings = [*_changed_hashes(walk.changed_hashes), *_damage(walk.fragments, head_hash)]
    last = walk.fragments[-1] if walk.fragments else None
    findings += _head_findings(last, head, {finding.sequence for finding in findings})
    findings += stated.findings(0 if last is None else last.last, {finding.sequence for finding in findings})
    return sorted(findings, key=lambda finding: finding.sequence)


def _damage(fragments: list[Fragment], head_hash: bytes | None) -> Iterator[Finding]:
    """Put the fragments together again, and tell what was done to them."""
    examined = fragments[:EXAMINED]
    find_later_parents(examined)
    pieces = cut_at_parents(examined)
    chain = true_chain(pieces, head_hash)
    moved = out_of_order(chain)
    for piece in pieces:
        if piece not in chain:
            yield _finding(Damage.INSERTED, piece, "the records around fit each other without")
        elif piece in moved:
            yield _finding(Damage.MOVED, piece, f"it belongs after record {piece.parent}")
        elif piece.parent is None:
            yield _unchained(piece)
        elif piece.parent == piece.before != piece.first - 1:
            yield _finding(Damage.CHANGED, piece, f"its number: it follows record {piece.before}")
    for fragment in fragments[EXAMINED:]:
        yield _unchained(fragment)


def _unchained(piece: Fragment) -> Finding:
    if piece.first != piece.before + 1:
        missing = f"records {piece.before + 1} to {piece.first - 1} are missing"
        return Finding(Damage.REMOVED, piece.before + 1, missing)
    detail = f"it is not chained to record {piece.before}: it was changed, or one before it was taken out"
    return Finding(Damage.CHANGED, piece.first, detail)


def _finding(damage: Damage, piece: Fragment, detail: str) -> Finding:
    extent = "" if piece.size == 1 else f"records {piece.first} to {piece.last}: "
    return Finding(damage, piece.first, extent + detail)


def _changed_hashes(sequences: Iterable[int]) -> Iterator[Finding]:
    for sequence in sequences:
        yield Finding(Damage.CHANGED, sequence, "its hash: its content fits the records around it")


def _head_findings(
    last: Fragment | None, head: tuple[int, bytes] | None, found: set[int]
) -> Iterator[Finding]:
    end = 0 if last is None else last.last
    if head is None:
        if last is not None:
            yield Finding(Damage.REMOVED, end, "the head of the chain is missing")
    elif head[0] > end:
        yield Finding(Damage.CUT_OFF, end + 1, f"the chain ends at {end}, its head says {head[0]}")
    elif head[0] < end and head[0] + 1 not in found:
        yield Finding(Damage.INSERTED, head[0] + 1, f"the head of the chain says that it ends at {head[0]}")
    elif last is not None and head[1] != last.last_hash and not found:
        yield Finding(Damage.CHANGED, end, "the head of the chain names another hash")


class _Stated:
    """What the checkpoints state, held against the records."""

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        self._missing = {(c.sequence, bytes.fromhex(orjson.loads(c.statement)["hash"])) for c in checkpoints}
        self._hashes = {stated for _, stated in self._missing}
        self._displaced: set[bytes] = set()

    def compare(self, record: AuditRecord) -> None:
        """Strike off what a record bears out."""
        if record.hash in self._hashes:
            self._missing.discard((record.sequence, record.hash))
            self._displaced.add(record.hash)

    def findings(self, end: int, found: set[int]) -> Iterator[Finding]:
        """Tell what no record bears out; a record that is there under another number was found out as such."""
        for sequence, stated in sorted(self._missing):
            if sequence in found or (found and stated in self._displaced):
                continue
            if sequence > end:
                detail = f"a signed checkpoint covers record {sequence}, which is not there"
                yield Finding(Damage.CUT_OFF, sequence, detail)
            else:
                detail = "the chain is consistent with itself but not with the checkpoint signed here"
                yield Finding(Damage.REWRITTEN, sequence, detail)


def verify_checkpoints(
    checkpoints: Iterable[Checkpoint], verify: VerifySignature
) -> tuple[list[Checkpoint], list[Finding]]:
    """Tell the checkpoints that the audit key signed from those it did not."""
    good: list[Checkpoint] = []
    findings: list[Finding] = []
    for checkpoint in checkpoints:
        try:
            verify(checkpoint.key_identifier, checkpoint.statement, checkpoint.signature)
            _check_statement(checkpoint)
        except SignatureInvalid as error:
            findings.append(Finding(Damage.CHECKPOINT_FORGED, checkpoint.sequence, str(error)))
        else:
            good.append(checkpoint)
    return good, findings


def _check_statement(checkpoint: Checkpoint) -> None:
    """What is kept beside the statement is not signed, so it must be the same as in it."""
    stated = orjson.loads(checkpoint.statement)
    if (stated["sequence"], stated["key_identifier"]) != (
        checkpoint.sequence,
        checkpoint.key_identifier.hex(),
    ):
        raise SignatureInvalid(
            "the checkpoint was signed for another record or key",
            value=stated["sequence"],
            rule=f"record {checkpoint.sequence}",
        )


def stored_records(connection: Connection) -> Iterator[AuditRecord]:
    """Yield every record of the database in the order of its sequence number, in constant memory."""
    rows = connection.execute(
        select(audit_record).order_by(audit_record.c.sequence), execution_options={"yield_per": 1_000}
    )
    for row in rows:
        yield AuditRecord(row.sequence, row.recorded_at, row.actor, row.event, row.body, row.hash)


def stored_head(connection: Connection) -> tuple[int, bytes] | None:
    """Return sequence and hash that the head row names."""
    row = connection.execute(
        select(audit_head.c.sequence, audit_head.c.hash).where(audit_head.c.id == HEAD)
    ).one_or_none()
    return None if row is None else (row.sequence, row.hash)
