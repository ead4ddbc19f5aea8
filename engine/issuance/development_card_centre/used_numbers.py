"""Which card numbers and which pairs of primes are used up, so that no two batches share any."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import HomeUnusable
from engine.issuance.manifest import durable_file

FILE_NAME = "used-numbers.json"
LOCK_NAME = "in-use.lock"


class UsedNumbers(BaseModel):
    """The next card number, and the next pair of primes for synthetic keys."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_assignment=True)

    next_card_number: int = Field(default=1, ge=0)
    next_prime_pair: int = Field(default=0, ge=0)

    def save(self, directory: Path) -> None:
        """Write the numbers durably, or raise HomeUnusable."""
        with durable_file(directory / FILE_NAME) as file:
            file.write(self.model_dump_json().encode() + b"\n")


@contextmanager
def open_used_numbers(directory: Path) -> Iterator[UsedNumbers]:
    """Lock a card centre against other processes and read its numbers; whoever uses some must save them.

    Raises:
        HomeUnusable: another process makes cards there, or the file cannot be read.
    """
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise HomeUnusable(f"cannot be written: {error.strerror}", place=str(directory)) from error
    try:
        _lock(descriptor, directory)
        yield _read(directory / FILE_NAME)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    """Take the lock, which ends with the process at the latest, or say that it is taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HomeUnusable("another command is making cards there", place=str(directory)) from error


def _read(path: Path) -> UsedNumbers:
    try:
        return UsedNumbers.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return UsedNumbers()
    except (OSError, ValidationError) as error:
        raise HomeUnusable("the used numbers cannot be read", place=str(path)) from error
