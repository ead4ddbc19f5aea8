"""The change feed: no gap, no double, and nothing without its cause and its audit record (CPS 4.5.6)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from engine.checker.finding import UNREADABLE, Finding, judge_each
from engine.checker.record import Record

_STATUS, _ISSUED, _ANSWERED, _ACCEPTED = 1, 2, 3, 4
"""Kinds of entries: subject is an item, a work unit, an OCSP batch, an item."""

_ACTS = ("certificates.suspended", "certificates.resumed", "certificates.revoked")


class Audited:
    """What the audit log says happened.

    Attributes:
        units: completed work units.
        batches: reserved OCSP batches, with the digest over their digests.
        changed: serials that an act suspended, resumed or revoked.
        accepted: serials that were accepted.
    """

    def __init__(self) -> None:
        self.units: set[int] = set()
        self.batches: dict[int, str] = {}
        self.changed: set[bytes] = set()
        self.accepted: set[bytes] = set()

    def read(self, record: Record) -> Iterator[Finding]:
        """Read the audit records of these events; yield those that cannot be read."""
        rows = record.rows(
            "SELECT sequence, event, body FROM audit_record WHERE event LIKE 'certificates.%'"
            " OR event IN ('unit.completed', 'ocsp.batch-reserved')"
        )
        for sequence, event, body in rows:
            try:
                self._take(event, json.loads(body))
            except UNREADABLE as error:
                yield Finding("audit-body", f"audit_record {sequence}", f"cannot be read: {error}")

    def _take(self, event: str, body: dict[str, object]) -> None:
        if event == "unit.completed":
            self.units.add(int(str(body["unit"])))
        elif event == "ocsp.batch-reserved":
            self.batches[int(str(body["batch"]))] = str(body["digests_sha256"])
        else:
            serials = self.accepted if event == "certificates.accepted" else self.changed
            acts = body["acts"]
            if not isinstance(acts, list):
                raise TypeError("acts are no list")
            for act in acts:
                serials.update(map(bytes.fromhex, act.get("certificates", ())))


def check_changes(record: Record) -> Iterator[Finding]:
    """Walk the feed, and hold its entries and the OCSP batches against the audit log."""
    audited = Audited()
    yield from audited.read(record)

    def batch_faults(number: int, digests: bytes) -> Iterable[str]:
        if hashlib.sha256(digests).hexdigest() != audited.batches.get(number):
            yield "no audit record tells of it, or of other digests"

    batches = record.rows("SELECT id, digests FROM ocsp_batch")
    yield from judge_each("ocsp-batch", "ocsp_batch", batches, batch_faults)
    yield from _walk(record, audited)


def _walk(record: Record, audited: Audited) -> Iterator[Finding]:
    last = 0
    rows = record.rows(
        "SELECT sequence, kind, subject, reservation.serial FROM status_change LEFT JOIN reservation"
        " ON reservation.item_id = status_change.subject AND status_change.kind IN (1, 4) ORDER BY sequence"
    )
    for sequence, kind, subject, serial in rows:
        if sequence != last + 1:
            yield Finding("change-sequence", f"status_change {sequence}", f"follows {last}")
        last = sequence
        known = {
            _STATUS: serial in audited.changed,
            _ISSUED: subject in audited.units,
            _ANSWERED: subject in audited.batches,
            _ACCEPTED: serial in audited.accepted,
        }
        if not known.get(kind, False):
            yield Finding("change-audit", f"status_change {sequence}", "no audit record tells of it")
    head = record.row("SELECT sequence FROM status_change_head")
    if (head[0] if head else 0) != last:
        yield Finding("change-sequence", "status_change_head", f"is not {last}, the last change")
