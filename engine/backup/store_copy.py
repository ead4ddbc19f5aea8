"""The record from one database into another: from a file to a server, and back."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, delete, select

from engine.audit.verify import stored_head, stored_records, verify_chain
from engine.backup.table_rows import (
    DigestOfRows,
    TableDigest,
    advance_numbering,
    chunks,
    digest_of,
    read_rows,
    stay_open,
    tables,
    write_rows,
)
from engine.errors import AuditBroken, HomeUnusable, StoreError
from engine.store.database import Store
from engine.store.migration import current_revision, migrate, newest_revision

SEEDED = frozenset({"status_change_head"})
"""Tables into which the migrations put a row of their own."""


def copy_store(source: Store, target: Store) -> Mapping[str, TableDigest]:
    """Copy the whole record, and compare both sides.

    Nobody writes to the source from the first row to the last comparison: its write lock is held. The rows come into
    the target in one transaction, which ends only when both sides are equal and the audit chain is whole.

    Args:
        source: the record, at the newest revision.
        target: an empty database; it is migrated first.

    Returns:
        What each table holds, on both sides.

    Raises:
        HomeUnusable: the source is of another revision, or the target is not empty. Nothing was written.
        StoreError: a database refused, or the sides differ. The target has empty tables.
        AuditBroken: the chain of the source is damaged. The target has empty tables.
    """
    with source.write() as reading:
        stay_open(reading)
        require_newest(reading)
        migrate(target)
        with target.write() as writing:
            stay_open(writing)
            require_empty(writing)
            copied = {table.name: _copy_table(reading, writing, table) for table in tables()}
            advance_numbering(writing)
            verify_audit(writing)
            return copied


def require_newest(connection: Connection) -> None:
    """Refuse a record whose tables are not those of this program.

    Raises:
        HomeUnusable: it is of another revision, or has no tables.
    """
    revision = current_revision(connection)
    if revision != newest_revision():
        raise HomeUnusable(
            "the record is not of this program's revision; open it with any command first",
            place=str(connection.engine.url.database),
            value=revision,
            rule=newest_revision(),
        )


def require_empty(connection: Connection) -> None:
    """Refuse a database that holds anything but what migrating put there, and take that out.

    Raises:
        HomeUnusable: there are rows.
    """
    for table in tables():
        if table.name in SEEDED:
            connection.execute(delete(table))
        elif connection.execute(select(*table.primary_key.columns).limit(1)).first() is not None:
            raise HomeUnusable(
                "the database is not empty; nothing was written into it",
                place=f"{connection.engine.url.database}, table {table.name}",
            )


def verify_audit(connection: Connection) -> None:
    """Walk the audit chain of a record.

    Raises:
        AuditBroken: it is not whole.
    """
    findings = verify_chain(stored_records(connection), stored_head(connection), ())
    if findings:
        first = findings[0]
        raise AuditBroken(
            "the audit chain is damaged; nothing was kept",
            place=f"record {first.sequence}",
            value=f"{first.damage.value}: {first.detail}",
        )


def _copy_table(reading: Connection, writing: Connection, table: Table) -> TableDigest:
    digest = DigestOfRows()
    for chunk in chunks(read_rows(reading, table)):
        write_rows(writing, table, chunk.rows)
        digest.add(chunk)
    here, there = digest.result(), digest_of(writing, table)
    if here != there:
        raise StoreError(
            "what was written is not what was read; nothing was kept",
            place=table.name,
            value=there,
            rule=str(here),
        )
    return here
