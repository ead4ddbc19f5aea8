"""What a process that holds a PIN forbids itself: core files, and being looked into by others of the same user."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4  # prctl(2)


def forbid_cores() -> None:
    """Forbid core files and make the process non-dumpable (prctl(2)), so that no secret reaches a disk that way."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
