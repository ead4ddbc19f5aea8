"""Contents that are fetched by their digest, piece by piece into a file: a CRL, a document."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from engine.errors import FeedRejected, StoreError
from engine.feed.feed_client import Asking
from engine.feed.piece import PieceKind

READABLE = 0o640
"""Mode of what is copied: the processes that answer may run as another user of the group."""

DIRECTORY = 0o750


@contextmanager
def files_of(place: Path) -> Iterator[None]:
    """Translate what the file system refuses.

    Raises:
        StoreError: a file cannot be read, written or renamed.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            "a file of the copy cannot be written or read",
            place=str(error.filename or place),
            value=error.strerror,
        ) from error


def sha256_of(path: Path) -> str:
    """Return the digest of a file, read chunk by chunk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def fetch_content(client: Asking, kind: PieceKind, sha256: str, octets: int, spool: Path) -> None:
    """Fetch a content into a file, going on where an earlier call was cut off.

    Args:
        client: who is asked.
        kind: CRL or PUBLICATION.
        sha256: its digest.
        octets: how long it is.
        spool: the file; when this returns it has the digest and is on the disk.

    Raises:
        FeedUnavailable: what came stays in the file.
        FeedRejected: the pieces do not make the content; the file is gone.
        StoreError: the file cannot be written.
    """
    size = _begin(spool)
    is_last = size >= octets > 0  # a content of no octets comes as one empty piece
    while not is_last:
        answer = await client.ask(kind, after=size, digest=sha256)
        size = answer.statement.through
        is_last = answer.statement.is_last or size >= octets
        await trio.to_thread.run_sync(_append, spool, answer.body)
    if size != octets or await trio.to_thread.run_sync(sha256_of, spool) != sha256:
        _remove(spool)
        raise FeedRejected(
            "what was fetched is not what was listed", place=kind.value, value=size, rule=f"SHA-256 {sha256}"
        )


def _begin(spool: Path) -> int:
    """Make the directory of a spool; return how much is there already."""
    with files_of(spool):
        spool.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)
        return spool.stat().st_size if spool.exists() else 0


def _remove(spool: Path) -> None:
    with files_of(spool):
        spool.unlink(missing_ok=True)


def _append(path: Path, octets: bytes) -> None:
    with files_of(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, READABLE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
