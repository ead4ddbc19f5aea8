"""One process at a time where a token is not safe for several: initialising its module, logging in, asking about it.

SoftHSM writes the token's file at every C_Login (its counters of wrong PINs). A second process that logs in meanwhile,
or asks for the token's state, gets CKR_GENERAL_ERROR, and one that initialises the module finds no token. An error of
C_Login may have cost an attempt, so it must not be repeated; it must not come up.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def one_process_at_a_time(lock: Path | None) -> Iterator[None]:
    """Hold the lock within the block, waiting for it; it falls with the process. Without a path nothing is held."""
    if lock is None:
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
