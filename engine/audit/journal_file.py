"""The file of a journal: lines at its end, of which a disk that fails leaves none half-written before the next."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

_OPEN_MODE, _SEALED_MODE = 0o600, 0o400


class JournalFile:
    """A file that this process writes, and no other.

    Every method blocks; each that raises OSError may be called again.

    Args:
        path: of the file, which is made.

    Attributes:
        path: the same.
        end: octets that were written whole.

    Raises:
        OSError: it cannot be made, or is there already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0
        self._is_doubtful = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OPEN_MODE)

    def append(self, lines: bytes) -> None:
        """Write lines at the end; what an earlier call left there half-written is written over.

        Raises:
            OSError: they do not count as written.
        """
        _write_whole(self._descriptor, lines, self.end)
        self.end += len(lines)

    def sync(self, offset: int) -> None:
        """Have everything from an offset on survive a power cut.

        A sync that failed may have left pages that are not on the disk and count as written (fsync(2), "EIO"); so after
        one they are written again.

        Raises:
            OSError: it may not.
        """
        if self._is_doubtful:
            octets = os.pread(self._descriptor, self.end - offset, offset)
            _write_whole(self._descriptor, octets, offset)
        self._is_doubtful = True
        os.fdatasync(self._descriptor)
        self._is_doubtful = False

    def seal(self) -> None:
        """Close the file; no more may be written to it. Where the disk refuses that, `seal_left_over` is for it."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, self.end)
            os.fchmod(self._descriptor, _SEALED_MODE)
        os.close(self._descriptor)


def left_over_lines(path: Path, offset: int) -> bytes:
    """Return what a killed process left in a file from an offset on; half a line at its end is cut off.

    Half a line announces nothing: what it was to announce was not signed. The result survives a power cut.

    Raises:
        OSError: the file cannot be read or written.
    """
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        octets = file.readall()
        lines = octets[: octets.rfind(b"\n") + 1]
        file.truncate(offset + len(lines))
        os.fdatasync(file.fileno())
    return lines


def seal_left_over(path: Path) -> None:
    """Forbid to write to a file whose lines are all recorded.

    Raises:
        OSError: it cannot be forbidden.
    """
    path.chmod(_SEALED_MODE)


def _write_whole(descriptor: int, octets: bytes, offset: int) -> None:
    if os.pwrite(descriptor, octets, offset) != len(octets):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
