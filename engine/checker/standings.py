"""What each certificate is worth: status, CRL entry, holds and revocation say the same (CPS 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.checker.finding import Finding, judge_each
from engine.checker.record import Record

GOOD, HELD, REVOKED = 0, 1, 2
"""certificate_status.state."""

CERTIFICATE_HOLD = 6
"""CRLReason (RFC 5280 section 5.3.1)."""

_WITHDRAWN = (
    "SELECT certificate_status.item_id, certificate_status.state,"
    " certificate_status.not_after, reservation.serial, entry.not_after, entry.serial,"
    " entry.since, entry.reason, entry.invalidity_at, revocation.revoked_at, revocation.reason,"
    " revocation.invalidity_at, standing.since"
    " FROM certificate_status LEFT JOIN reservation ON reservation.item_id = certificate_status.item_id"
    " LEFT JOIN crl_entry AS entry ON entry.partition_id = certificate_status.partition_id"
    " AND entry.item_id = certificate_status.item_id"
    " LEFT JOIN revocation ON revocation.item_id = certificate_status.item_id"
    " LEFT JOIN (SELECT item_id, min(placed_at) AS since FROM hold WHERE lifted_at IS NULL GROUP BY item_id)"
    " AS standing ON standing.item_id = certificate_status.item_id"
    " WHERE certificate_status.state != 0 OR entry.item_id IS NOT NULL OR revocation.item_id IS NOT NULL"
    " OR standing.item_id IS NOT NULL"
)

_ORPHANS = (
    "SELECT crl_entry.item_id FROM crl_entry LEFT JOIN certificate_status"
    " ON certificate_status.item_id = crl_entry.item_id"
    " AND certificate_status.partition_id = crl_entry.partition_id WHERE certificate_status.item_id IS NULL"
)

_Times = int | None
"""Microseconds since the epoch."""


def check_standings(record: Record) -> Iterator[Finding]:
    """Derive from holds and revocation what a certificate is worth, and compare status and CRL entry with it."""
    yield from judge_each("standing", "certificate_status", record.rows(_WITHDRAWN), _faults)
    for (item,) in record.rows(_ORPHANS):
        yield Finding(
            "standing", f"crl_entry of item {item}", "there is no such certificate in its partition"
        )


def _faults(
    _item: int,
    state: int,
    not_after: int,
    serial: bytes,
    entry_not_after: int | None,
    entry_serial: bytes | None,
    *rest: _Times,
) -> Iterable[str]:
    since, reason, invalidity, revoked_at, revoked_for, revoked_invalidity, held_since = rest
    expected: tuple[_Times, ...] = (GOOD, None, None, None)
    if revoked_at is not None:
        expected = (REVOKED, revoked_at, revoked_for, revoked_invalidity)
    elif held_since is not None:
        expected = (HELD, held_since, CERTIFICATE_HOLD, None)
    if (state, since, reason, invalidity) != expected:
        yield f"state, since, reason, invalidity are {(state, since, reason, invalidity)}, should be {expected}"
    if entry_serial is not None and (entry_not_after, entry_serial) != (not_after, serial):
        yield "its CRL entry names another end or serial"
