"""What a CRL lists, against the record as it was at the sequence number of the change feed that the CRL was made at.

What changed since is left out of the comparison, so that a home can be judged while it works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from engine.checker.crl_files import Entry, ParsedCrl
from engine.checker.record import Record
from engine.checker.standings import GOOD

_STATUS = 1
"""Kind of an entry of the change feed: a certificate was held, resumed or revoked."""

_REMOVE_FROM_CRL = 8
"""CRLReason, in deltas only (RFC 5280 section 5.3.1)."""

_MICROSECONDS = 1_000_000

_FULL = (
    "SELECT serial, not_after, since, reason, invalidity_at FROM crl_entry WHERE partition_id IN"
    " (SELECT id FROM crl_partition WHERE issuer_key_identifier = :key AND (id = :partition OR :partition = 0))"
)

_CHANGED_SINCE = (
    "SELECT DISTINCT reservation.serial FROM status_change"
    " JOIN reservation ON reservation.item_id = status_change.subject"
    " WHERE status_change.kind = :status AND status_change.sequence > :sequence"
)

_DELTA = (
    "SELECT reservation.serial, status.not_after, status.state, changed.changed_at, entry.since, entry.reason,"
    " entry.invalidity_at FROM (SELECT subject, max(changed_at) AS changed_at FROM status_change"
    " WHERE kind = :status AND sequence > :base AND sequence <= :sequence GROUP BY subject) AS changed"
    " JOIN certificate_status AS status ON status.item_id = changed.subject"
    " JOIN reservation ON reservation.item_id = changed.subject"
    " LEFT JOIN crl_entry AS entry ON entry.partition_id = status.partition_id"
    " AND entry.item_id = changed.subject WHERE status.partition_id IN"
    " (SELECT id FROM crl_partition WHERE issuer_key_identifier = :key AND (id = :partition OR :partition = 0))"
)


class Coverage(NamedTuple):
    """What a CRL covers.

    Attributes:
        key_identifier: of the CA key.
        partition: the CRL partition; 0: all of the key's.
        sequence: that of the change feed at which it was made.
        base: of a delta CRL, that of its base; None of a full one.
    """

    key_identifier: bytes
    partition: int
    sequence: int
    base: int | None


def content_faults(record: Record, parsed: ParsedCrl, coverage: Coverage) -> Iterable[str]:
    """Compare what a CRL lists with what it should; yield the differences."""
    since = record.rows(_CHANGED_SINCE, status=_STATUS, sequence=coverage.sequence)
    changed = {int.from_bytes(serial) for (serial,) in since}
    expected = _full(record, coverage) if coverage.base is None else _delta(record, coverage)
    left = dict(parsed.entries)
    for serial, not_after, entry in expected:
        listed = left.pop(serial, None)
        if serial in changed:
            continue
        if listed is None:
            # One that has expired stays on one more scheduled CRL only (RFC 5280 section 3.3).
            if parsed.keeps_expired or not_after >= parsed.this_update:
                yield f"serial {serial:X} is not listed"
        elif listed != entry:
            yield f"serial {serial:X} is listed as {listed}, should be {entry}"
    for serial in sorted(left.keys() - changed):
        yield f"serial {serial:X} is listed without a reason in the record"


def _full(record: Record, coverage: Coverage) -> Iterator[tuple[int, int, Entry]]:
    rows = record.rows(_FULL, key=coverage.key_identifier, partition=coverage.partition)
    for serial, not_after, since, reason, invalidity in rows:
        yield int.from_bytes(serial), not_after // _MICROSECONDS, _entry(since, reason, invalidity)


def _delta(record: Record, coverage: Coverage) -> Iterator[tuple[int, int, Entry]]:
    rows = record.rows(
        _DELTA,
        status=_STATUS,
        base=coverage.base,
        sequence=coverage.sequence,
        key=coverage.key_identifier,
        partition=coverage.partition,
    )
    for serial, not_after, state, changed_at, *entry in rows:
        listed = (changed_at // _MICROSECONDS, _REMOVE_FROM_CRL, None) if state == GOOD else _entry(*entry)
        yield int.from_bytes(serial), not_after // _MICROSECONDS, listed


def _entry(since: int, reason: int, invalidity: int | None) -> Entry:
    return since // _MICROSECONDS, reason, None if invalidity is None else invalidity // _MICROSECONDS
