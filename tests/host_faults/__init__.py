"""Faults of a host: files that cannot be written, and a wall clock that is wrong, in processes that preload a library.

The library is the C files beside this one; the control file is described in README.md.
"""

from __future__ import annotations

import errno
from pathlib import Path

from tests.shared_library import compile_library

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
DAY = 86_400
FULL, BROKEN = errno.ENOSPC, errno.EIO


def build(library: Path = ROOT / "build" / "libhost_faults.so") -> Path:
    """Compile the library, unless it is newer than its sources; return its absolute path.

    Raises:
        RuntimeError: gcc refused, with what it said.
    """
    return compile_library(SOURCES, library, "-D_GNU_SOURCE", "-ldl")


class HostFaults:
    """Steers the faults of all processes that were started with its environment.

    Args:
        directory: where the control file lies; made if missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._library = build()
        self._control = directory / "control"
        self._hits = directory / "control.hits"
        self._failing = ""
        self._clock = 0
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with."""
        return {"LD_PRELOAD": str(self._library), "HOST_FAULTS_CONTROL": str(self._control)}

    def fail(self, error: int, part: str) -> None:
        """Let writing to files fail from now on: those with this part in their path, with this errno.

        ENOSPC fails writes, EIO also fsync and fdatasync.
        """
        self._failing = f"fail {error} {part}\n"
        self._write()

    def heal(self) -> None:
        """Let files be written again."""
        self._failing = ""
        self._write()

    def set_clock_wrong(self, seconds: int) -> None:
        """Let the wall clock be so many seconds ahead of the real time, or behind it."""
        self._clock = seconds
        self._write()

    @property
    def hits(self) -> int:
        """How many calls failed so far."""
        return self._hits.read_bytes().count(b"\n") if self._hits.exists() else 0

    def _write(self) -> None:
        fresh = self._control.with_suffix(".fresh")
        fresh.write_text(f"{self._failing}clock {self._clock}\n", "ascii")
        fresh.replace(self._control)
