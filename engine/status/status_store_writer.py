"""Writing a host's status store: the follower's side. One writer, in one process, for as long as it holds the lock."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
        generation.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._environment = open_environment(generation, writer=True)
        self._serials = self._environment.open_db(SERIALS)
        self._cards = self._environment.open_db(CARDS)
        self._meta = self._environment.open_db(META)

    def close(self) -> None:
        """Close the store; what was committed stays."""
        self._environment.close()

    def freshness(self) -> Freshness:
        """Return how far the store has come; zeros in a new one."""
        with self._environment.begin() as transaction:
            return Freshness(
                *PROGRESS_FORM.unpack(transaction.get(PROGRESS, default=bytes(16), db=self._meta))
            )

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
        self._environment.reader_check()  # slots of readers that were killed
        try:
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
            raise StoreError(
                "the status store cannot be written", place=self._place, value=str(error)
            ) from error


def open_current(directory: Path) -> StatusWriter | None:
    """Open the generation in use for writing; None where none was ever built, or the last cannot be read."""
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
    change over.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    name = f"generation-{secrets.token_hex(6)}"
    writer = StatusWriter(directory / name)
    try:
        yield writer
    except BaseException:
        writer.close()
        shutil.rmtree(directory / name)
        raise
    writer.close()
    partial = directory / f"{CURRENT}.partial"
    partial.write_text(name, "ascii")
    partial.rename(directory / CURRENT)
    for other in directory.glob("generation-*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
