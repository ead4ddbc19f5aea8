"""Writing to the spool: one append for each time of counting, on the disk before it counts as written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from engine.usage.spool import Usage, file_name, lines_of, month_of


class SpoolWriter:
    """Appends to this process's file of a month.

    Args:
        directory: the spool; made when there is something to write.

    Attributes:
        writer: the random digits in the names of its files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.writer = secrets.token_hex(8)
        self._path: Path | None = None
        self._descriptor = -1
        self._unwritten = b""

    @property
    def has_unwritten(self) -> bool:
        """Whether something put is not on the disk yet."""
        return bool(self._unwritten)

    def put(self, usages: Sequence[Usage]) -> None:
        """Have usages written next, all of one month; only when nothing is unwritten.

        What waits is never more than this once: a disk that is full for days fills no memory.
        """
        if self._unwritten:
            raise RuntimeError("put before everything was written")
        path = self._directory / file_name(month_of(usages[0].at), self.writer)
        if path != self._path:
            self.close()
            self._path = path
        self._unwritten = lines_of(usages)

    def write(self) -> None:
        """Write what was put, and bring it to the disk. What could not be written is tried again the next time.

        Raises:
            OSError: it could not all be written.
        """
        if self._path is None or not self._unwritten:
            return
        if self._descriptor < 0:
            self._descriptor = _open(self._path)
        while self._unwritten:
            written = os.write(self._descriptor, self._unwritten)
            self._unwritten = self._unwritten[written:]
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # else a power cut takes the name, and the counts with it
    finally:
        os.close(directory)
    return descriptor
