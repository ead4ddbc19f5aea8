"""The audit chain, computed anew, and the checkpoints signed over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from engine.checker.authority import Authority, verify
from engine.checker.finding import UNREADABLE, Finding, judge_each
from engine.checker.record import Record

_FIRST = hashlib.sha256(b"sealmint audit log, record 0").digest()
"""What record 1 is chained to: decision 0009."""


def check_audit(record: Record) -> Iterator[Finding]:
    """Walk the chain from its first record to the recorded head (CPS 4.5.6, decision 0009)."""
    previous, last = _FIRST, 0
    rows = record.rows(
        "SELECT sequence, recorded_at, actor, event, body, hash FROM audit_record ORDER BY sequence"
    )
    for sequence, recorded_at, actor, event, body, digest in rows:
        place = f"audit_record {sequence}"
        if sequence != last + 1:
            yield Finding("audit-sequence", place, f"follows record {last}")
        try:
            content = json.dumps([recorded_at, actor, event, body], ensure_ascii=False, separators=(",", ":"))
            if hashlib.sha256(previous + content.encode()).digest() != digest:
                yield Finding("audit-chain", place, "its hash does not fit")
        except UNREADABLE as error:
            yield Finding("audit-chain", place, f"cannot be read: {error}")
        previous, last = digest if isinstance(digest, bytes) else b"", sequence
    head = record.row("SELECT sequence, hash FROM audit_head")
    if head != ((last, previous) if last else None):
        yield Finding("audit-head", "audit_head", f"is not record {last}, the last one")


def check_checkpoints(record: Record, authority: Authority) -> Iterator[Finding]:
    """Hold every checkpoint against the chain, and verify its signature (CPS 4.5.4); one may still lack it."""

    def faults(
        sequence: int, statement: str, identifier: bytes, signature: bytes | None, digest: bytes | None
    ) -> Iterable[str]:
        said = json.loads(statement)
        if digest is None or (said["sequence"], said["hash"]) != (sequence, digest.hex()):
            yield "does not state the hash of that audit record"
        if signature is None:
            return
        certificate = authority.by_key.get(identifier)
        if certificate is None:
            yield "signed with a key that nobody certified"
        else:
            verify(certificate, signature, statement.encode())

    rows = record.rows(
        "SELECT audit_checkpoint.sequence, statement, key_identifier, signature, audit_record.hash"
        " FROM audit_checkpoint LEFT JOIN audit_record ON audit_record.sequence = audit_checkpoint.sequence"
    )
    yield from judge_each("audit-checkpoint", "audit_checkpoint", rows, faults)
