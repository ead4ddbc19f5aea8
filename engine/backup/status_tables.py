"""What the status of certificates is made of, out of a backup and ahead of everything else (CPS 4.8.1).

OCSP answers need a few columns of a few tables. They go into a database of their own, which is thrown away: the record
itself comes back whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Column, Connection, Index, MetaData, Table

from engine.backup.table_rows import decode, tables
from engine.store.bulk_append import append
from engine.store.database import Store, open_store

COLUMNS: dict[str, tuple[str, ...]] = {
    "authority_certificate": (
        *("id", "role", "key_label", "key_identifier", "serial", "tbs", "signature", "reserved_at"),
    ),
    "crl_partition": ("id", "issuer_key_identifier"),
    "card": ("id",),
    "item": ("id", "card_id"),
    "reservation": ("item_id", "serial"),
    "certificate_status": ("item_id", "partition_id", "not_after", "state"),
    "crl_entry": ("partition_id", "item_id", "since", "reason"),
    "status_change_head": ("id", "sequence"),
    "card_status_revision": ("card_id", "revision"),
    "ocsp_answer": ("card_id", "answer"),
}
"""What a rebuild of the status store reads (engine/status/follower.py)."""


@contextmanager
def status_tables(
    directory: Path, manifest: dict[str, Any], chunk: Callable[[str], bytes]
) -> Iterator[Store]:
    """Yield a database that has what the status store is built of, and nothing else; it is removed afterwards.

    Args:
        directory: a place on the disk of the home.
        manifest: of the backup.
        chunk: returns the chunk of a name.

    Raises:
        BackupUnusable: a chunk is missing or damaged.
        StoreError: the database cannot be written.
    """
    with TemporaryDirectory(dir=directory, prefix=".status-") as place:
        store = open_store(f"sqlite:///{place}/tables.sqlite")
        try:
            with store.write() as connection:
                for table in tables():
                    if table.name in COLUMNS:
                        _fill(connection, table, manifest["tables"][table.name]["chunks"], chunk)
            yield store
        finally:
            store.close()


def _fill(connection: Connection, whole: Table, names: list[str], chunk: Callable[[str], bytes]) -> None:
    wanted = COLUMNS[whole.name]
    places = [whole.columns.keys().index(name) for name in wanted]
    table = Table(
        whole.name,
        MetaData(),
        *(Column(name, whole.c[name].type, primary_key=whole.c[name].primary_key) for name in wanted),
    )
    if whole.name == "item":
        Index("ix_item_card_id", table.c.card_id)
    table.metadata.create_all(connection)
    for name in names:
        rows = decode(chunk(name), len(whole.columns))
        append(connection, table, wanted, [tuple(row[place] for place in places) for row in rows])
