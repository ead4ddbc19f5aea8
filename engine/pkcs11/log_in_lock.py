"""One process at a time where a token is not safe for several: initialising its module, logging in, asking about it.

SoftHSM writes the token's file at every C_Login (its counters of wrong PINs). A second process that logs in meanwhile,
or asks for the token's state, gets CKR_GENERAL_ERROR, and one that initialises the module finds no token. An error of
C_Login may have cost an attempt, so it must not be repeated; it must not come up.

A process killed while it holds the lock may leave that file empty: see `softhsm_files`.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.pkcs11.softhsm_files import copy_token_files, put_back_token_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def one_process_at_a_time(lock: Path | None) -> Iterator[None]:
    """Hold the lock within the block, waiting for it; it falls with the process. Without a path nothing is held.

    Raises:
        SignerUnavailable: SoftHSM's file of the token cannot be copied; the lock is free again.
    """
    if lock is None:
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        put_back_token_files()
        copy_token_files()
        yield
    finally:
        os.close(descriptor)
