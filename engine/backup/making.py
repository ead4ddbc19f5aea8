"""Making a backup while certificates are issued."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.backup.chunk_store import ChunkStore
from engine.backup.home_files import AFTER_RECORD, BEFORE_RECORD, files_beside, files_of
from engine.backup.store_copy import require_newest
from engine.backup.table_rows import DigestOfRows, chunks, read_rows, stay_open, tables
from engine.clock import Clock
from engine.errors import BackupUnusable, HomeUnusable
from engine.store.database import Store
from engine.store.migration import newest_revision

FORMAT = 1
"""Of the manifest."""

FILE_CHUNK_OCTETS = 4 << 20
"""Of a file, in one chunk. A guess: a journal that grew changes its last one only."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made.

    Attributes:
        manifest: the name of its manifest.
        base: that of the backup it is incremental to, None for a full one.
        tables: how many rows each table has.
        files: how many files it has.
        new_chunks: chunks that were not there.
        new_octets: of those, as written.
    """

    manifest: str
    base: str | None
    tables: dict[str, int]
    files: int
    new_chunks: int
    new_octets: int


def make_backup(
    home: Path, store: Store, clock: Clock, actor: str, chunk_store: ChunkStore, *, incremental: bool
) -> Backup:
    """Make a backup of a home, with its audit record; others may go on working.

    CRLs first, then the record in one snapshot, then the other files: see `home_files`. The backup exists when its
    manifest has its name; stopped before, it leaves chunks that the next one finds.

    Args:
        home: the home directory.
        store: its open record.
        clock: tells the time of the backup and of its record.
        actor: who makes it.
        chunk_store: where to.
        incremental: write only chunks that are not there, relying on those that are; else each of them is read.

    Raises:
        BackupUnusable: it is to be incremental and there is no backup before it.
        HomeUnusable: a file cannot be read, or the backup not written.
        StoreError: the record cannot be read.
    """
    base = chunk_store.newest() if incremental else None
    if incremental and base is None:
        raise BackupUnusable("there is no backup here to go on from", place=str(chunk_store.path))
    began = clock.now()
    files = _keep_files(home, files_of(home, BEFORE_RECORD), chunk_store, trust=incremental)
    with store.read() as connection:
        stay_open(connection)
        require_newest(connection)
        kept = {
            table.name: _keep_table(connection, table, chunk_store, trust=incremental) for table in tables()
        }
    files |= _keep_files(home, files_of(home, AFTER_RECORD), chunk_store, trust=incremental)
    files |= _keep_files(home, files_beside(home), chunk_store, trust=incremental)
    document = {
        "format": FORMAT,
        "began_at": began,
        "revision": newest_revision(),
        "base": base,
        "tables": kept,
        "files": files,
    }
    name = chunk_store.put_manifest(f"{began:%Y%m%dT%H%M%S.%fZ}", document)
    made = Backup(
        manifest=name,
        base=base,
        tables={table: int(str(part["rows"])) for table, part in kept.items()},
        files=len(files),
        new_chunks=chunk_store.written,
        new_octets=chunk_store.octets,
    )
    with store.write() as connection:
        body = {"manifest": name, "base": base, "directory": str(chunk_store.path)}
        append_record(connection, clock, Event.BACKUP_MADE, actor=actor, body=body)
    return made


def _keep_table(
    connection: Connection, table: Table, chunk_store: ChunkStore, *, trust: bool
) -> dict[str, object]:
    digest, names = DigestOfRows(), list[str]()
    for chunk in chunks(read_rows(connection, table)):
        digest.add(chunk)
        names.append(chunk_store.put(chunk.octets, trust=trust))
    return {**digest.result().document(), "chunks": names}


def _keep_files(
    home: Path, names: Iterable[str], chunk_store: ChunkStore, *, trust: bool
) -> dict[str, dict[str, object]]:
    kept: dict[str, dict[str, object]] = {}
    for name in names:
        try:
            kept[name] = _keep_file(home / name, chunk_store, trust=trust)
        except FileNotFoundError:
            continue  # replaced or cleared away since it was listed: it was not there
        except OSError as error:
            raise HomeUnusable(
                "a file of the home cannot be read", place=str(home / name), value=error.strerror
            ) from error
    return kept


def _keep_file(path: Path, chunk_store: ChunkStore, *, trust: bool) -> dict[str, object]:
    with path.open("rb") as file:
        mode = stat.S_IMODE(path.stat().st_mode)
        names = [
            chunk_store.put(part, trust=trust) for part in iter(lambda: file.read(FILE_CHUNK_OCTETS), b"")
        ]
    return {"mode": mode, "chunks": names}
