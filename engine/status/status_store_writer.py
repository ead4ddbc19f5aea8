"""Writing a host's status store: the follower's side. One writer, in one process, for as long as it holds the lock."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lmdb

from engine.errors import HomeUnusable, StoreError
from engine.status.card_record import CardRecord, pack
from engine.status.status_store import (
    CARD_KEY,
    CARDS,
    CURRENT,
    META,
    PARTIES,
    PROGRESS,
    PROGRESS_FORM,
    SERIAL_KEY,
    SERIALS,
    Freshness,
    current_generation,
    open_environment,
)


class StatusWriter:
    """Writes one generation of a status store.

    Args:
        generation: its directory; made if missing.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, generation: Path) -> None:
        self._place = str(generation)
        with _files_in(generation):
            generation.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._environment = open_environment(generation, writer=True)
        try:
            self._serials, self._cards, self._meta = map(self._environment.open_db, (SERIALS, CARDS, META))
        except lmdb.Error as error:
            self._environment.close()
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the store; what was committed stays."""
        self._environment.close()

    def freshness(self) -> Freshness:
        """Return how far the store has come; zeros in a new one."""
        try:
            with self._environment.begin() as transaction:
                octets = transaction.get(PROGRESS, default=bytes(PROGRESS_FORM.size), db=self._meta)
        except lmdb.Error as error:
            raise self._failed(error) from error
        return Freshness(*PROGRESS_FORM.unpack(octets))

    def write(
        self, records: Iterable[tuple[int, CardRecord]], progress: Freshness, parties: bytes | None = None
    ) -> None:
        """Put cards in, with how far the store has come, in one transaction.

        Args:
            records: card numbers and records; they replace what is there.
            progress: what this brings the store to.
            parties: issuers and responders, when they changed.

        Raises:
            StoreError: the disk or the map is full, or the disk failed; the store is as it was.
        """
        try:
            self._environment.reader_check()  # slots of readers that were killed
            with self._environment.begin(write=True) as transaction:
                for card, record in records:
                    key = CARD_KEY.pack(card)
                    transaction.put(key, pack(record), db=self._cards)
                    for certificate in record.certificates:
                        serial = SERIAL_KEY.pack(record.issuer, certificate.serial)
                        transaction.put(serial, key, db=self._serials, overwrite=False)
                if parties is not None:
                    transaction.put(PARTIES, parties, db=self._meta)
                transaction.put(PROGRESS, PROGRESS_FORM.pack(*progress), db=self._meta)
        except lmdb.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: lmdb.Error) -> StoreError:
        return StoreError("the status store cannot be written", place=self._place, value=str(error))


@contextmanager
def _files_in(place: Path) -> Iterator[None]:
    """Translate what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            "the status store cannot be written", place=str(place), value=error.strerror
        ) from error


def open_current(directory: Path) -> StatusWriter | None:
    """Open the generation in use for writing; None where none was ever built, or its files are gone.

    Raises:
        StoreError: it is there and cannot be opened.
    """
    try:
        generation = current_generation(directory)
    except HomeUnusable:
        return None
    if not (generation / "data.mdb").is_file():
        return None
    return StatusWriter(generation)


@contextmanager
def new_generation(directory: Path) -> Iterator[StatusWriter]:
    """Build a store beside the one in use; when the block ends without an error, readers change over to it.

    Generations that are no longer in use are removed: readers that still have one open keep its pages until they
    change over. So are, before anything is built, those that killed rebuilds left: else each would take room from the
    next.

    Raises:
        StoreError: a file cannot be made; the store in use stays.
    """
    with _files_in(directory):
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    with suppress(HomeUnusable):
        _remove_all_but(current_generation(directory))
    name = f"generation-{secrets.token_hex(6)}"
    writer = StatusWriter(directory / name)
    try:
        yield writer
    except BaseException:
        writer.close()
        shutil.rmtree(directory / name, ignore_errors=True)
        raise
    writer.close()
    with _files_in(directory):
        _name_current(directory, name)
    _remove_all_but(directory / name)


def _remove_all_but(generation: Path) -> None:
    for other in generation.parent.glob("generation-*"):
        if other != generation:
            shutil.rmtree(other, ignore_errors=True)


def _name_current(directory: Path, name: str) -> None:
    partial = directory / f"{CURRENT}.partial"
    with partial.open("w", encoding="ascii") as file:
        file.write(name)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(directory / CURRENT)
