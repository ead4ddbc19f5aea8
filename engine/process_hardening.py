"""What a process forbids itself: core files, being looked into by others of the same user, files others may change."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # prctl(2)

_OTHERS_MAY_WRITE = 0o022
"""Bits of a umask(2)."""


def harden() -> None:
    """Forbid core files and files that others may change: for a command, whose processes inherit the latter."""
    forbid_cores()
    os.umask(os.umask(_OTHERS_MAY_WRITE) | _OTHERS_MAY_WRITE)


def forbid_cores() -> None:
    """Forbid core files and make the process non-dumpable (prctl(2)), so that no secret reaches a disk that way."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
