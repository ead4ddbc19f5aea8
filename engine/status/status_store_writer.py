"""Writing a host's status store: the follower's side. One writer, in one process, for as long as it holds the lock."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import lmdb

from engine.errors import HomeUnusable, StoreError
from engine.fault_points import fault_point
from engine.status.card_record import CardRecord, pack
from engine.status.mapped_memory import MappedFile
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

MARK, SNAPSHOT = b"mark", b"snapshot"
"""Beside the progress, in a copy: the digest of the change feed's entry there; and, until all cards were
copied once, the number of the last card that was."""

_READERS_LOCK_TOO = 0o660
"""Of `lock.mdb`: a reader of the group takes a slot in it."""


_CARDS_MAPPED = 500
"""Cards after which the pages of the map are let go of: a page for each of their serials and 15 around it are 64 MB at
most, however large the store is. A guess: letting go costs as much as a few cards."""


class PackedCard(NamedTuple):
    """A card as it comes packed from another host, and was checked there and here."""

    card: int
    octets: bytes
    issuer: int
    serials: Sequence[bytes]


Card = TypeVar("Card")


class CopyPosition(NamedTuple):
    """How far a store has come that is a copy of another host's."""

    progress: Freshness
    mark: str
    """Hex digest of the entry of the change feed that the progress names; empty at its beginning."""
    copied_until: int | None
    """While it is built from nothing: the number of the last card that was copied. None once all were."""


class StatusWriter:
    """Writes one generation of a status store.

    Args:
        generation: its directory; made if missing.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, generation: Path) -> None:
        self._place = str(generation)
        with files_in(generation):
            generation.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._environment = open_environment(generation, writer=True)
        with files_in(generation):
            (generation / "lock.mdb").chmod(_READERS_LOCK_TOO)
        try:
            self._serials, self._cards, self._meta = map(self._environment.open_db, (SERIALS, CARDS, META))
        except lmdb.Error as error:
            self._environment.close()
            raise self._failed(error) from error
        self._map = MappedFile(generation / "data.mdb")

    def close(self) -> None:
        """Close the store; what was committed stays."""
        self._environment.close()

    def freshness(self) -> Freshness:
        """Return how far the store has come; zeros in a new one."""
        return Freshness(*PROGRESS_FORM.unpack(self._meta_value(PROGRESS) or bytes(PROGRESS_FORM.size)))

    def octets(self) -> tuple[int, int]:
        """Return what is in use of the store, and the most it may grow to.

        In use counts as what was ever: LMDB gives pages that it freed to later writes, not back.
        """
        info = self._environment.info()
        page: int = self._environment.stat()["psize"]
        return (info["last_pgno"] + 1) * page, info["map_size"]

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
        packed = (
            PackedCard(card, pack(record), record.issuer, [one.serial for one in record.certificates])
            for card, record in records
        )
        with self._writing() as transaction:
            self._put(transaction, packed, progress, parties)

    def write_copied(
        self, cards: Iterable[PackedCard], position: CopyPosition, parties: bytes | None = None
    ) -> None:
        """Put cards in that come packed from another host, with how far the copy has come, in one transaction.

        Args:
            cards: they replace what is there.
            position: what this brings the store to.
            parties: issuers and responders, when they changed.

        Raises:
            StoreError: as `write`.
        """
        with self._writing() as transaction:
            self._put(transaction, self._sparing_memory(cards), position.progress, parties)
            transaction.put(MARK, bytes.fromhex(position.mark), db=self._meta)
            if position.copied_until is None:
                transaction.delete(SNAPSHOT, db=self._meta)
            else:
                transaction.put(SNAPSHOT, CARD_KEY.pack(position.copied_until), db=self._meta)

    def position(self) -> CopyPosition:
        """Return how far a copy has come.

        Raises:
            StoreError: the store cannot be read.
        """
        progress = self.freshness()
        mark, until = self._meta_value(MARK), self._meta_value(SNAPSHOT)
        return CopyPosition(progress, mark.hex(), CARD_KEY.unpack(until)[0] if until else None)

    def parties(self) -> bytes:
        """Return issuers and responders as they were written; nothing in a new store.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._meta_value(PARTIES)

    def packed(self, cards: Iterable[int]) -> list[bytes | None]:
        """Return the packed records of cards; None for one that is not there.

        Raises:
            StoreError: the store cannot be read.
        """
        try:
            with self._environment.begin(db=self._cards) as transaction:
                return [transaction.get(CARD_KEY.pack(card)) for card in self._sparing_memory(cards)]
        except lmdb.Error as error:
            raise self._failed(error) from error

    def _sparing_memory(self, cards: Iterable[Card]) -> Iterator[Card]:
        """The same cards; pages of the map that one was looked up in are let go of, now and then."""
        for place, card in enumerate(cards, 1):
            yield card
            if place % _CARDS_MAPPED == 0:
                self._map.release()

    def _meta_value(self, key: bytes) -> bytes:
        try:
            with self._environment.begin() as transaction:
                return transaction.get(key, default=b"", db=self._meta)
        except lmdb.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def _writing(self) -> Iterator[lmdb.Transaction]:
        try:
            self._environment.reader_check()  # slots of readers that were killed
            with self._environment.begin(write=True) as transaction:
                yield transaction
                fault_point("status-store.before-commit")
            fault_point("status-store.committed")
        except lmdb.Error as error:
            raise self._failed(error) from error

    def _put(
        self,
        transaction: lmdb.Transaction,
        cards: Iterable[PackedCard],
        progress: Freshness,
        parties: bytes | None,
    ) -> None:
        for card, octets, issuer, serials in cards:
            key = CARD_KEY.pack(card)
            transaction.put(key, octets, db=self._cards)
            for serial in serials:
                transaction.put(SERIAL_KEY.pack(issuer, serial), key, db=self._serials, overwrite=False)
        if parties is not None:
            transaction.put(PARTIES, parties, db=self._meta)
        transaction.put(PROGRESS, PROGRESS_FORM.pack(*progress), db=self._meta)

    def _failed(self, error: lmdb.Error) -> StoreError:
        return StoreError("the status store cannot be written", place=self._place, value=str(error))


@contextmanager
def files_in(place: Path) -> Iterator[None]:
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
    with files_in(directory):
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    with suppress(HomeUnusable):
        remove_generations(directory, but=current_generation(directory).name)
    name = new_name()
    writer = StatusWriter(directory / name)
    try:
        yield writer
    except BaseException:
        writer.close()
        shutil.rmtree(directory / name, ignore_errors=True)
        raise
    writer.close()
    with files_in(directory):
        name_in(directory, CURRENT, name)
    remove_generations(directory, but=name)


def new_name() -> str:
    """Return a name for a generation that none had before."""
    return f"generation-{secrets.token_hex(6)}"


def remove_generations(directory: Path, *, but: str) -> None:
    """Remove all generations but one: readers that still have one open keep its pages until they change over."""
    for other in directory.glob("generation-*"):
        if other.name != but:
            shutil.rmtree(other, ignore_errors=True)


def name_in(directory: Path, file_name: str, text: str) -> None:
    """Write a generation's name, or what else is said of one, into a small file; complete or not at all."""
    partial = directory / f"{file_name}.partial"
    with partial.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(directory / file_name)
