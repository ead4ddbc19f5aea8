"""A directory of chunks named by their content: what a backup is made of.

    chunks/ab/abcdef…            zlib (RFC 1950); the name is the SHA-256 of what comes out of it
    manifests/<time>-<sha>.json  what a backup is made of; the name ends with the SHA-256 of the file

Files are 0600 in directories 0700. A chunk gets its name when it is whole and on the disk, so one that has its name may
be relied on, but for what disks do; nothing that has its name is ever changed.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from engine.errors import BackupUnusable, HomeUnusable
from engine.home import write_private

COMPRESSION = 1
"""zlib's quickest. A guess: keys, digests and signatures do not get smaller by trying harder."""


class ChunkStore:
    """The directory of the backups of one home.

    Args:
        path: the directory; made when the first chunk is put.

    Attributes:
        written: chunks that `put` wrote.
        octets: of those, compressed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.octets = 0

    def put(self, content: bytes, *, trust: bool) -> str:
        """Keep a chunk; return its name.

        Args:
            content: its octets.
            trust: whether a chunk that is there already is taken as whole; if not, it is read, and written anew where
                it is damaged.

        Raises:
            HomeUnusable: it cannot be written.
        """
        name = hashlib.sha256(content).hexdigest()
        path = self._place(name)
        if path.exists() and (trust or self._is_whole(name)):
            return name
        packed = zlib.compress(content, COMPRESSION)
        self._write(path, packed)
        self.written += 1
        self.octets += len(packed)
        return name

    def get(self, name: str) -> bytes:
        """Return a chunk.

        Raises:
            BackupUnusable: it is missing or damaged.
        """
        path = self._place(name)
        try:
            content = zlib.decompress(path.read_bytes())
        except (OSError, zlib.error) as error:
            raise BackupUnusable(
                "a chunk of the backup is missing or damaged", place=str(path), value=str(error)
            ) from error
        if hashlib.sha256(content).hexdigest() != name:
            raise BackupUnusable(
                "a chunk of the backup is damaged", place=str(path), rule="its name is its SHA-256"
            )
        return content

    def put_manifest(self, time: str, document: Mapping[str, object]) -> str:
        """Keep a manifest, from which moment on the backup exists; return its name.

        Raises:
            HomeUnusable: it cannot be written.
        """
        octets = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        name = f"{time}-{hashlib.sha256(octets).hexdigest()}.json"
        self._write(self.path / "manifests" / name, octets)
        return name

    def manifest(self, name: str | None = None) -> dict[str, Any]:
        """Return a manifest, the newest if none is named.

        Raises:
            BackupUnusable: there is none, or it is damaged.
        """
        name = name or self.newest()
        path = self.path / "manifests" / str(name)
        if name is None:
            raise BackupUnusable("there is no backup here", place=str(self.path))
        try:
            octets = path.read_bytes()
        except OSError as error:
            raise BackupUnusable("there is no such backup", place=str(path)) from error
        if not path.stem.endswith(hashlib.sha256(octets).hexdigest()):
            raise BackupUnusable(
                "the manifest is damaged", place=str(path), rule="its name ends with its SHA-256"
            )
        document: dict[str, Any] = orjson.loads(octets)
        return document

    def newest(self) -> str | None:
        """Return the name of the newest manifest, None where there is none."""
        return max((path.name for path in (self.path / "manifests").glob("*.json")), default=None)

    def _place(self, name: str) -> Path:
        return self.path / "chunks" / name[:2] / name

    def _is_whole(self, name: str) -> bool:
        try:
            self.get(name)
        except BackupUnusable:
            return False
        return True

    def _write(self, path: Path, octets: bytes) -> None:
        try:
            for directory in (self.path, path.parent.parent, path.parent):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, octets)
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)  # the name, too, survives a power cut
            finally:
                os.close(descriptor)
        except OSError as error:
            raise HomeUnusable(
                "the backup cannot be written", place=str(path), value=error.strerror
            ) from error
