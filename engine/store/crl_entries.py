"""What CRLs list: every certificate that is not good, or what changed since another CRL, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from engine.store.schema import (
    CertificateState,
    certificate_status,
    crl_entry,
    reservation,
    status_change,
)
from engine.store.status_changes import ChangeKind

REMOVE_FROM_CRL = 8
"""CRLReason removeFromCRL, in delta CRLs only (RFC 5280 section 5.3.1)."""

ROWS_AT_ONCE = 8_192
"""Entries fetched at a time: about 1 MB. A guess."""

SCAN_CACHE_KIB = 2_048
"""SQLite's page cache while entries are read. Each page is read once, so a larger one would only take memory
(bench.crl: the peak does not depend on the number of entries)."""

_MICROSECONDS = 1_000_000

EntryRows = Iterator[list[tuple[bytes, int, int, int | None]]]
"""Batches of serial, revocationDate, CRLReason and invalidityDate; times in seconds since the epoch."""


def full_entries(connection: Connection, partitions: Sequence[int], expired_from: int | None) -> EntryRows:
    """Yield what a full CRL lists, in constant memory, in the order of partitions and items.

    Args:
        connection: a snapshot; it is read to its end before anything else is asked.
        partitions: the partitions that the CRL covers.
        expired_from: certificates that expired before are left out; microseconds since the epoch; None: none are.
    """
    question = select(
        crl_entry.c.serial,
        crl_entry.c.since // _MICROSECONDS,
        crl_entry.c.reason,
        crl_entry.c.invalidity_at // _MICROSECONDS,
    ).where(crl_entry.c.partition_id.in_(partitions))
    if expired_from is not None:
        question = question.where(crl_entry.c.not_after >= expired_from)
    return _rows(connection, question.order_by(crl_entry.c.partition_id, crl_entry.c.item_id))


def changed_entries(
    connection: Connection,
    partitions: Sequence[int],
    expired_from: int | None,
    *,
    after: int,
    up_to: int,
) -> EntryRows:
    """Yield what a delta CRL lists: every certificate whose status changed, as it stands now.

    One that is good again has the reason removeFromCRL, also where the base never listed it: a CRL in between may
    have (RFC 5280 section 5.2.4). Its date is that of the change.

    Args:
        connection: a snapshot; it is read to its end before anything else is asked.
        partitions: the partitions that the CRL covers.
        expired_from: as for `full_entries`.
        after: the change feed's sequence number of the base.
        up_to: that of the snapshot.
    """
    changed = _changes(after, up_to)
    good = certificate_status.c.state == int(CertificateState.GOOD)
    question = (
        select(
            reservation.c.serial,
            case((good, changed.c.changed_at), else_=crl_entry.c.since) // _MICROSECONDS,
            case((good, REMOVE_FROM_CRL), else_=crl_entry.c.reason),
            crl_entry.c.invalidity_at // _MICROSECONDS,
        )
        .select_from(changed)
        .join(certificate_status, certificate_status.c.item_id == changed.c.subject)
        .join(reservation, reservation.c.item_id == changed.c.subject)
        .outerjoin(
            crl_entry,
            (crl_entry.c.partition_id == certificate_status.c.partition_id)
            & (crl_entry.c.item_id == changed.c.subject),
        )
        .where(certificate_status.c.partition_id.in_(partitions))
    )
    if expired_from is not None:
        question = question.where(certificate_status.c.not_after >= expired_from)
    return _rows(connection, question.order_by(changed.c.subject))


def _changes(after: int, up_to: int) -> Any:
    return (
        select(status_change.c.subject, func.max(status_change.c.changed_at).label("changed_at"))
        .where(
            status_change.c.sequence > after,
            status_change.c.sequence <= up_to,
            status_change.c.kind == int(ChangeKind.STATUS),
        )
        .group_by(status_change.c.subject)
        .subquery()
    )


def _rows(connection: Connection, question: Select[Any]) -> EntryRows:
    if connection.dialect.name != "sqlite":
        partitions = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(question).partitions()
        yield from partitions  # type: ignore[misc]  # a Row is a tuple of what was selected
        return
    with _small_cache(connection):
        # SQLite steps through the rows by itself, and its driver's tuples cost 1 µs an entry less than Rows.
        cursor = connection.execute(question).cursor
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield rows  # type: ignore[misc]  # as above


@contextmanager
def _small_cache(connection: Connection) -> Iterator[None]:
    before = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    connection.exec_driver_sql(f"PRAGMA cache_size = -{SCAN_CACHE_KIB}")
    try:
        yield
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size = {before}")


# --- changes that wait for a CRL ---------------------------------------------------------------------------


def changes_by_partition(connection: Connection, after: int, up_to: int) -> dict[int, tuple[int, int, int]]:
    """Return, by partition, how many certificates changed status, when the first did, and the last sequence number.

    Args:
        connection: a snapshot.
        after: the sequence number of the change feed after which to begin.
        up_to: the last one to look at.
    """
    rows = connection.execute(
        select(
            certificate_status.c.partition_id,
            func.count(func.distinct(status_change.c.subject)),
            func.min(status_change.c.changed_at),
            func.max(status_change.c.sequence),
        )
        .join(certificate_status, certificate_status.c.item_id == status_change.c.subject)
        .where(
            status_change.c.sequence > after,
            status_change.c.sequence <= up_to,
            status_change.c.kind == int(ChangeKind.STATUS),
        )
        .group_by(certificate_status.c.partition_id)
    )
    return {partition: (count, first, last) for partition, count, first, last in rows}
