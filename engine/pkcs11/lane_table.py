"""The memory that all processes on a token share: a row for each pool, written by its owner, read by all.

Nobody waits for anybody: a row is written without a lock, number by number, and a reader may see some of them new and
others old, which costs at most a call too many in flight for a moment. A row belongs to whoever holds the lock on its
octet of the file. That is an open-file-description lock (fcntl(2)): it falls with the process, however that ends, and
then whoever sees it first clears the row.

In the directory of the table each row has a named pipe too: a byte in it wakes the row's owner.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from engine.pkcs11.arbitration import PID, ROW, SEEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SLOTS = 128
"""Pools that can share a token. A guess: some tens of workers and the processes of `serve`, twice."""

STALE_SECONDS = 2.0
"""A row whose owner has not looked for so long does not count: it is stopped, or hangs. Eight times as long as it
lets pass between two looks."""

_HEADER = 8
_PARALLEL, _USED = (
    0,
    1,
)  # numbers of the header: calls in flight at most (0 = not set); slots that were ever used
_FILE = "table-1"  # of this layout
_OCTETS = (_HEADER + ROW * SLOTS) * 8
_LOCK = struct.Struct("hhqqi4x")  # struct flock of Linux on 64 bits


class LaneTable:
    """One pool's place in the table. Where all places are taken the pool is alone, in memory of its own.

    Args:
        directory: where the table is; made if missing. On a file system of this host.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._file = _open(directory)
        self._map = mmap.mmap(self._file, _OCTETS)
        self._numbers = memoryview(self._map).cast("d")
        self._pipes: dict[int, int] = {}
        self.slot = self._join()
        self._base = _HEADER + ROW * self.slot
        self.wake_descriptor = self._open_pipe(self.slot, os.O_RDWR)
        self.set(PID, os.getpid())
        self.sweep()

    def _join(self) -> int:
        for slot in range(SLOTS):
            if _lock(self._file, slot, fcntl.F_WRLCK):
                self._clear(slot)
                self._numbers[_USED] = max(self._numbers[_USED], slot + 1)
                if not self._others(
                    slot
                ):  # what an operator set is over when nobody is left whom he set it for
                    self._numbers[_PARALLEL] = 0
                return slot
        os.close(self._file)
        raise OSError(errno.EBUSY, f"all {SLOTS} places are taken", str(self._directory))

    def _others(self, slot: int) -> list[int]:
        """The other slots that somebody owns."""
        return [
            other for other in range(int(self._numbers[_USED])) if other != slot and _owned(self._file, other)
        ]

    def _clear(self, slot: int) -> None:
        for place in range(_HEADER + ROW * slot, _HEADER + ROW * (slot + 1)):
            self._numbers[place] = 0.0

    @property
    def parallel(self) -> int | None:
        """How many calls may be in flight, as an operator set it; None = he did not."""
        return int(self._numbers[_PARALLEL]) or None

    def get(self, place: int) -> float:
        """Return a number of the own row."""
        return self._numbers[self._base + place]

    def set(self, place: int, value: float) -> None:
        """Write a number of the own row."""
        self._numbers[self._base + place] = value

    def own_row(self) -> Sequence[float]:
        """Return the own row."""
        return self._numbers[self._base : self._base + ROW].tolist()

    def rows(self, now: float) -> dict[int, list[float]]:
        """Return the rows that count, by slot: their owners have looked of late.

        Args:
            now: the time of CLOCK_MONOTONIC in seconds. What lies ahead of it is from before the host was started.
        """
        end = _HEADER + ROW * int(self._numbers[_USED])
        # typeshed takes what a view gives for whole numbers, whatever it was cast to
        numbers = cast("list[float]", self._numbers[_HEADER:end].tolist())
        return {
            start // ROW: numbers[start : start + ROW]
            for start in range(0, len(numbers), ROW)
            if now - STALE_SECONDS <= numbers[start + SEEN] <= now + STALE_SECONDS
        }

    def column(self, place: int) -> Sequence[float]:
        """Return one number of every row, whether the row counts or not."""
        end = _HEADER + ROW * int(self._numbers[_USED])
        return self._numbers[_HEADER + place : end : ROW].tolist()

    def sweep(self) -> None:
        """Clear the rows whose owners are gone, and see to it that the own one is among those that are read."""
        self._numbers[_USED] = max(
            self._numbers[_USED], self.slot + 1
        )  # two who joined at once may have lost it
        for slot in range(int(self._numbers[_USED])):
            written = self._numbers[_HEADER + ROW * slot + PID] != 0
            if slot != self.slot and written and _lock(self._file, slot, fcntl.F_WRLCK):
                self._clear(slot)
                self._pipe_path(slot).unlink(missing_ok=True)
                _lock(self._file, slot, fcntl.F_UNLCK)

    def wake(self, slot: int) -> None:
        """Wake the owner of a row, if there is one. One who does not read, as he is stopped, is none."""
        for _ in range(2):  # the pipe that is open here may be that of the slot's owner before
            try:
                if slot not in self._pipes:
                    self._pipes[slot] = self._open_pipe(slot, os.O_WRONLY)
                os.write(self._pipes[slot], b"!")
            except BrokenPipeError:
                os.close(self._pipes.pop(slot))
            except OSError:  # nobody has it open, or it is full
                return
            else:
                return

    def take_wakes(self) -> None:
        """Read away what woke this process."""
        with suppress(BlockingIOError):
            os.read(self.wake_descriptor, 4096)

    def _open_pipe(self, slot: int, flags: int) -> int:
        path = self._pipe_path(slot)
        if flags == os.O_RDWR:
            with suppress(FileExistsError):  # that of an owner who was killed
                os.mkfifo(path, 0o600)
        return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    def _pipe_path(self, slot: int) -> Path:
        return self._directory / f"wake-{slot:03d}"

    def close(self) -> None:
        """Give the row back."""
        self._clear(self.slot)
        self._pipe_path(self.slot).unlink(missing_ok=True)
        for pipe in (*self._pipes.values(), self.wake_descriptor):
            os.close(pipe)
        self._numbers.release()
        self._map.close()
        os.close(self._file)  # and the lock falls


def set_parallel(directory: Path, parallel: int | None) -> int:
    """Let so many calls be in flight on the token, of all processes, until the last of these has ended.

    Args:
        directory: where the table is.
        parallel: at least one; None = as configured again.

    Returns:
        How many pools share the token now. Without any nothing was set.

    Raises:
        OSError: there is no table, and none can be made.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = _open(directory)
    try:
        with mmap.mmap(file, _OCTETS) as table:
            pools = [slot for slot in range(SLOTS) if _owned(file, slot)]
            if pools:
                struct.pack_into("d", table, 8 * _PARALLEL, float(parallel or 0))
            return len(pools)
    finally:
        os.close(file)


def monotonic() -> float:
    """Return CLOCK_MONOTONIC in seconds, which is the same for all processes of a host."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _open(directory: Path) -> int:
    file = os.open(directory / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # The first makes it, of zeros; for the others it changes nothing. Not a file with holes: to write into one on a
    # full disk through a mapping ends the process.
    os.posix_fallocate(file, 0, _OCTETS)
    return file


def _lock(file: int, slot: int, kind: int) -> bool:
    """Lock or unlock a slot's octet; False if another one holds it."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, slot, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _owned(file: int, slot: int) -> bool:
    """Whether somebody else holds a slot's lock."""
    asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0)
    kind: int = _LOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK
