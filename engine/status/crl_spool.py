"""The entries of a CRL on disk: spooled before what stands around them is known, then hashed, then copied."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from engine.errors import HomeUnusable
from engine.store.crl_entries import EntryRows
from engine.x509.revocation_list import Frame, encode_entries

_CHUNK = 1 << 20
"""Octets read at a time: 1 MiB. A guess."""


@contextmanager
def files_in(directory: Path) -> Iterator[None]:
    """Translate what goes wrong with files in the block.

    Raises:
        HomeUnusable: a file cannot be written, read or renamed.
    """
    try:
        yield
    except OSError as error:
        raise HomeUnusable(
            "a CRL file cannot be written", place=error.filename or str(directory), value=error.strerror
        ) from error


@dataclass(frozen=True, slots=True)
class Spool:
    """Encoded entries in a file without a name: it goes with the process, however that ends.

    Attributes:
        file: the file.
        entries: how many.
        octets: how long.
    """

    file: BinaryIO
    entries: int
    octets: int

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def digest(self, frame: Frame, hash_name: str) -> bytes:
        """Hash the tbsCertList that these entries and their frame make."""
        hashed = hashlib.new(hash_name, frame.before)
        for chunk in self._chunks():
            hashed.update(chunk)
        hashed.update(frame.after)
        return hashed.digest()

    def write(self, path: Path, before: bytes, after: bytes) -> bytes:
        """Write the entries with what stands around them to a file, durably; return its SHA-256."""
        hashed = hashlib.sha256()
        with path.open("wb") as file:
            for part in chain((before,), self._chunks(), (after,)):
                hashed.update(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        return hashed.digest()

    def _chunks(self) -> Iterator[bytes]:
        self.file.seek(0)
        while chunk := self.file.read(_CHUNK):
            yield chunk


def spool_entries(directory: Path, batches: EntryRows) -> Spool:
    """Encode entries into a file without a name in the directory."""
    file = cast("BinaryIO", tempfile.TemporaryFile(dir=directory))  # noqa: SIM115 - the spool keeps it open
    entries = octets = 0
    try:
        for rows in batches:
            octets += file.write(encode_entries(rows))
            entries += len(rows)
    except BaseException:
        file.close()
        raise
    return Spool(file, entries, octets)


def partial_of(path: Path, fence: int) -> Path:
    """Return the name under which a file is written before it is renamed; remove what others left there.

    Args:
        path: the file that will appear.
        fence: of the lease, so that a late process elsewhere writes another file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in partials_of(path):
        left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{fence}.partial")


def partials_of(path: Path) -> list[Path]:
    """Return the files that killed or late processes have written for a path and not renamed."""
    return list(path.parent.glob(f".{escape(path.name)}.*.partial"))


def put_in_place(partial: Path, paths: tuple[Path, ...], fence: int) -> None:
    """Rename a written file to its path, and put it at the other paths too; durable when this returns."""
    first, *others = paths
    for path in others:
        link = partial_of(path, fence)
        link.hardlink_to(partial)
        link.rename(path)
    partial.rename(first)
    for directory in {path.parent for path in paths}:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
