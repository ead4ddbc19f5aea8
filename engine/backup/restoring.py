"""Putting a backup back, into a place where nothing is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import orjson

from engine.backup.chunk_store import ChunkStore
from engine.backup.home_files import is_first
from engine.backup.status_tables import status_tables
from engine.backup.store_copy import require_empty, verify_audit
from engine.backup.table_rows import (
    TableDigest,
    advance_numbering,
    decode,
    digest_of,
    stay_open,
    tables,
    write_rows,
)
from engine.config import CONFIGURATION_NAME, PublicConfiguration
from engine.errors import BackupUnusable, HomeUnusable
from engine.home import Home, write_private
from engine.store.database import Store
from engine.store.migration import migrate, newest_revision

STALE_SECONDS = 7 * 86_400
"""For how long what came back first is answered from while the rest comes back: a week, the time between two full
backups (CPS 5.1.8)."""


class Restoration:
    """A backup on its way back.

    The configuration comes last of what a step brings: a place without it is no home, so nobody works in half of one.

    Args:
        chunk_store: where the backup is.
        manifest: its manifest.
        home: the new place.

    Raises:
        HomeUnusable: there is something in the new place.
        BackupUnusable: the backup was made by another revision of the program.
    """

    def __init__(self, chunk_store: ChunkStore, manifest: dict[str, Any], home: Home) -> None:
        if home.path.exists() and any(home.path.iterdir()):
            raise HomeUnusable("a backup is put back into a new place only", place=str(home.path))
        if manifest["revision"] != newest_revision():
            raise BackupUnusable(
                "the backup is of another revision; put it back with the program that made it",
                value=manifest["revision"],
                rule=newest_revision(),
            )
        self._chunks = chunk_store
        self._manifest = manifest
        self._home = home
        home.create()

    def first_files(self) -> int:
        """Put back certificates and CRLs, of which the repository is made; return how many files."""
        return self._write_files(name for name in self._manifest["files"] if is_first(name))

    def other_files(self) -> int:
        """Put back journals, checkpoints, reports and the like; return how many files."""
        others = (name for name in self._manifest["files"] if not is_first(name))
        return self._write_files(name for name in others if name != CONFIGURATION_NAME)

    def status(self) -> AbstractContextManager[Store]:
        """Return a database, for a block, that has what the status store is built of.

        Raises:
            BackupUnusable: a chunk is missing or damaged (at the beginning of the block).
        """
        return status_tables(self._home.path, self._manifest, self._chunks.get)

    def record(self, store: Store) -> dict[str, TableDigest]:
        """Put back the record in one transaction, and compare it with the manifest.

        Args:
            store: an empty database; it is migrated first.

        Raises:
            BackupUnusable: a chunk is missing or damaged, or the rows are not those of the manifest.
            HomeUnusable: the database is not empty.
            AuditBroken: the chain was damaged when the backup was made.
        """
        migrate(store)
        digests = {}
        with store.write() as connection:
            stay_open(connection)
            require_empty(connection)
            for table in tables():
                kept = self._manifest["tables"][table.name]
                for name in kept["chunks"]:
                    write_rows(connection, table, list(decode(self._chunks.get(name), len(table.columns))))
                found = digest_of(connection, table)
                if (found.rows, found.sha256) != (kept["rows"], kept["sha256"]):
                    raise BackupUnusable("the rows are not those of the manifest", place=table.name)
                digests[table.name] = found
            advance_numbering(connection)
            verify_audit(connection)
        return digests

    def configuration(self, store_url: str | None) -> None:
        """Put back the configuration, which makes the place a home.

        Args:
            store_url: where the record is from now on; None: where the configuration says.
        """
        text = self.configuration_text(store_url)
        write_private(self._home.configuration, text.encode())
        self._home.configuration.chmod(self._manifest["files"][CONFIGURATION_NAME]["mode"])

    def answering_configuration(self) -> None:
        """Make the place the home of a public host for now: it answers from what is there, and does nothing else."""
        write_private(self._home.configuration, answering(self.configuration_text(None)).encode())

    def configuration_text(self, store_url: str | None) -> str:
        """Return the configuration as it will be put back."""
        text = self._content(CONFIGURATION_NAME).decode()
        return text if store_url is None else with_store_url(text, store_url)

    def _write_files(self, names: Iterable[str]) -> int:
        count = 0
        for name in names:
            path = self._home.path / name
            if not path.resolve().is_relative_to(self._home.path.resolve()):
                raise BackupUnusable("the manifest names a file outside the home", value=name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(self._content(name))
            path.chmod(self._manifest["files"][name]["mode"])
            count += 1
        return count

    def _content(self, name: str) -> bytes:
        return b"".join(map(self._chunks.get, self._manifest["files"][name]["chunks"]))


def with_store_url(text: str, url: str) -> str:
    """Return a configuration whose section [store] says where the record is, and nothing else."""
    section = f"[store]\nurl = {orjson.dumps(url).decode()}\n"
    without = re.sub(r"^\[store\][^\n]*\n(?:(?!\[)[^\n]*\n?)*", "", text, flags=re.MULTILINE)
    return f"{without.rstrip()}\n\n{section}"


def answering(text: str) -> str:
    """Return the configuration of a public host that answers as the home of a configuration does."""
    given = tomllib.loads(text)
    sections = {name: given.get(name, {}) for name in PublicConfiguration.model_fields if name != "role"}
    sections["ocsp"] = {
        **{name: value for name, value in sections["ocsp"].items() if name not in ("nonce", "live_signer")},
        "stale_seconds": STALE_SECONDS,
    }
    lines = ['role = "public"']
    for section, settings in sections.items():
        if settings:
            lines += ["", f"[{section}]"]
            # Numbers, texts and lists of them are the same in JSON and in TOML.
            lines += [f"{name} = {orjson.dumps(value).decode()}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"
