"""Letting go of the memory that a mapped file takes in this process.

The kernel maps the pages around each one that is touched, as far as they are in its cache. Whoever writes serials at
random into a store has it all mapped soon, and counts as having so much memory, though none of it is his own. Letting
go takes nothing away: a page that is touched again is mapped again.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

_C_LIBRARY = ctypes.CDLL(None, use_errno=True)


class MappedFile:
    """A file that this process has mapped for reading.

    Args:
        path: the file; where it is not mapped, or the system has no /proc, nothing is ever let go of.
    """

    def __init__(self, path: Path) -> None:
        self._ranges = _ranges_of(path)

    def release(self) -> None:
        """Let go of its pages. No pointer into the mapping becomes invalid."""
        for start, end in self._ranges:
            _C_LIBRARY.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _ranges_of(path: Path) -> list[tuple[int, int]]:
    """Where a file is mapped read-only and shared: of another mapping, letting go would lose what was written."""
    try:
        lines = Path("/proc/self/maps").read_bytes().splitlines()
    except OSError:
        return []
    wanted = os.fsencode(path.resolve())
    found = []
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[1] == b"r--s" and fields[5] == wanted:
            start, end = fields[0].split(b"-")
            found.append((int(start, 16), int(end, 16)))
    return found
