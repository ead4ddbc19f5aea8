"""The cap on sessions counts all processes: one file a session, locked by whoever holds it.

A lock by flock belongs to an open file. It goes when that is closed, by `release` or because the process died in
whatever way, so the share of a dead process comes back by itself. A stuck session keeps its place: it is still
open in the token.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from engine.errors import SignerUnavailable

if TYPE_CHECKING:
    from pathlib import Path


class NoFreePlace(SignerUnavailable):
    """All sessions that the token allows are in use. One may come back."""


class HeldSlot:
    """One place under the cap, held until it is released or the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Give the place back. Doing it twice does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class SessionSlots:
    """The places for sessions on one token, shared by every process that uses the same directory.

    Args:
        directory: where the files lie; made if missing. On a file system of this host.
        count: how many sessions all processes together may have open, anchors included.
    """

    def __init__(self, directory: Path, count: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.count = count
        self._paths = [directory / f"session-{number:04d}" for number in range(count)]

    def take(self) -> HeldSlot:
        """Take a free place; does not wait.

        Raises:
            NoFreePlace: there is none.
        """
        for path in self._paths:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return HeldSlot(descriptor)
        raise NoFreePlace(
            f"all {self.count} sessions are in use", place=str(self._paths[0].parent) if self._paths else None
        )
