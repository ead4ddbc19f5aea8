"""The status store of a host, as readers see it: memory-mapped, shared by all processes, written by the follower.

Two steps to an answer: the serial gives the card, the card's record gives standing and signed answer. What is the same
for all answers (issuers, responder certificates) is read once and again when it changes.

A rebuild makes a new directory beside the old one and names it in `CURRENT`; readers look there now and then and
change over. The map is as large as it may ever grow, so it is never resized under a reader; it takes address space,
not memory.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import lmdb

from engine.errors import HomeUnusable, StoreError
from engine.status.card_record import (
    ARCHIVE_CUTOFF,
    COVERED,
    NEXT_UPDATE,
    NO_REASON,
    RESPONDER,
    THIS_UPDATE,
    CardRecord,
    answer_head,
    unpack,
    unpack_plainly,
)
from engine.status.card_record import CertificateStanding as _Standing
from engine.status.parties import KnownIssuer, parties_from
from engine.store.schema import CertificateState
from engine.x509.serial_numbers import SERIAL_OCTETS

CURRENT = "CURRENT"
MAP_OCTETS = 32 << 30
"""Address space of a store: 40 million cards at the 700 octets that one takes with its serials (bench.presign)."""

READERS = 512
"""Processes that may read at once: a slot each. A guess: far more than listeners."""

CARD_KEY = Struct(">Q")
SERIAL_KEY = Struct(f">B{SERIAL_OCTETS}s")
PROGRESS_FORM = Struct(">QQ")
META, SERIALS, CARDS = b"meta", b"serials", b"cards"
PARTIES, PROGRESS = b"parties", b"progress"
ETAG_OCTETS = 12
"""Of the signature in an ETag. A guess: of RSA 96 bits, of ECDSA, whose value begins with headers, 56 or more; the
answers at one URL do not meet by chance."""


class CertificateStanding(NamedTuple):
    """What one certificate is worth; times in seconds since the epoch."""

    state: CertificateState
    since: int | None
    reason: int | None
    not_after: int


class PresignedAnswer(NamedTuple):
    """An OCSPResponse as it goes out; times in seconds since the epoch."""

    response: bytes
    this_update: int
    next_update: int
    etag: bytes
    """Without the quotes."""


class Freshness(NamedTuple):
    """How far the follower has come, and when it last said so (seconds since the epoch)."""

    sequence: int
    written_at: int

    def is_current(self, now: int, stale_seconds: int) -> bool:
        """Whether the store may be trusted: the follower said lately that it is kept up.

        A time to come tells as little as one long past: the clock was put back since, and a follower that lives says
        so anew at once. Were it believed, a store that nobody keeps up would pass for current for as long.

        Args:
            now: seconds since the epoch.
            stale_seconds: `[ocsp].stale_seconds`.
        """
        return abs(now - self.written_at) <= stale_seconds


def open_environment(directory: Path, *, writer: bool) -> lmdb.Environment:
    """Open an LMDB directory.

    Raises:
        StoreError: it is missing, damaged, or cannot be read.
    """
    try:
        return lmdb.open(
            str(directory),
            map_size=MAP_OCTETS,
            max_dbs=3,
            max_readers=READERS,
            readonly=not writer,
            create=writer,
            readahead=False,  # random serials: a neighbour's page is of no use
            mode=0o640,
        )
    except lmdb.Error as error:
        raise StoreError(
            "the status store cannot be opened", place=str(directory), value=str(error)
        ) from error


def current_generation(directory: Path) -> Path:
    """Return the directory in use.

    Raises:
        HomeUnusable: no status store was ever built here.
    """
    try:
        name = (directory / CURRENT).read_text("ascii").strip()
    except OSError as error:
        raise HomeUnusable(_MISSING, place=str(directory), value=error.strerror) from error
    if not name:
        raise HomeUnusable(_MISSING, place=str(directory), value=f"empty {CURRENT}")
    return directory / name


_MISSING = "there is no status store; build it with: sealmint ocsp rebuild"


class StatusReader:
    """Reads a host's status store; one for each process, for its event loop only.

    Every reading method raises StoreError where the store cannot be read.

    Args:
        directory: `[ocsp].status_store`.

    Raises:
        HomeUnusable: no status store was ever built here.
        StoreError: it cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open()

    def _open(self) -> None:
        """Open the generation in use. Where that fails, what was open before stays open."""
        while True:
            generation = current_generation(self._directory)
            try:
                return self._open_generation(generation)
            except StoreError:
                if current_generation(self._directory) == generation:
                    raise  # else it was replaced and removed just now

    def _open_generation(self, generation: Path) -> None:
        environment = open_environment(generation, writer=False)
        try:
            serials, cards, meta = (
                environment.open_db(name, create=False) for name in (SERIALS, CARDS, META)
            )
            with environment.begin() as transaction:
                octets = transaction.get(PARTIES, db=meta) or b""
        except lmdb.Error as error:
            environment.close()
            raise _unreadable(generation, error) from error
        self._take_parties(octets)
        self._generation, self._environment = generation, environment
        self._serials, self._cards, self._meta = serials, cards, meta

    def _take_parties(self, octets: bytes) -> None:
        self._parties = parties_from(octets)
        self._parties_octets = octets

    def _meta_value(self, key: bytes) -> bytes:
        try:
            with self._environment.begin() as transaction:
                return transaction.get(key, db=self._meta) or b""
        except lmdb.Error as error:
            raise _unreadable(self._generation, error) from error

    def close(self) -> None:
        """Close the store."""
        self._environment.close()

    def __enter__(self) -> StatusReader:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def reopen_if_replaced(self) -> bool:
        """Change over to a rebuilt store, or to other issuers and responders; return whether anything changed.

        Cheap enough for once a second; answers in hand are not touched.
        """
        with contextlib.suppress(HomeUnusable):
            if current_generation(self._directory) != self._generation:
                old = self._environment
                self._open()
                old.close()
                return True
        octets = self._meta_value(PARTIES)
        if octets == self._parties_octets:
            return False
        self._take_parties(octets)
        return True

    @property
    def issuers(self) -> tuple[KnownIssuer, ...]:
        """The CA keys whose certificates are answered for."""
        return self._parties.issuers

    def freshness(self) -> Freshness:
        """Return how current the store is."""
        return Freshness(*PROGRESS_FORM.unpack(self._meta_value(PROGRESS) or bytes(PROGRESS_FORM.size)))

    def record(self, issuer: int, serial: bytes) -> CardRecord | None:
        """Return the record of the card that a serial belongs to; None where it was never issued."""
        octets = self._octets(issuer, serial)
        return None if octets is None else unpack(octets)

    def _octets(self, issuer: int, serial: bytes) -> bytes | None:
        if len(serial) != SERIAL_OCTETS:
            return None
        try:
            # By position and without a block: that halves the time of all this (bench.ocsp).
            transaction = self._environment.begin()
            card = transaction.get(SERIAL_KEY.pack(issuer, serial), None, self._serials)
            octets = None if card is None else transaction.get(card, None, self._cards)
            transaction.abort()
        except lmdb.Error as error:
            raise _unreadable(self._generation, error) from error
        return octets

    def standing(self, issuer: int, serial: bytes) -> CertificateStanding | None:
        """Return what a certificate is worth; None where it was never issued."""
        record = self.record(issuer, serial)
        for certificate in () if record is None else record.certificates:
            if certificate.serial == serial:
                return _seen(certificate)
        return None

    def presigned(self, issuer: int, serial: bytes, now: int) -> PresignedAnswer | None:
        """Return the signed answer for a certificate, ready to be sent.

        Args:
            issuer: index of the CA key.
            serial: content octets of the serialNumber.
            now: seconds since the epoch: an answer past its nextUpdate is none.

        Returns:
            The answer, or None: an unknown serial, withdrawn, not signed yet, lapsed, or not covering this one.
        """
        octets = self._octets(issuer, serial)
        if octets is None:
            return None
        values, head, signature = unpack_plainly(octets)
        if head is None or head[NEXT_UPDATE] <= now:
            return None
        layout = self._parties.layouts.get(head[RESPONDER])
        serials, states = values[3::5], values[4::5]
        if layout is None or serial not in serials:
            return None
        if any(states) or head[ARCHIVE_CUTOFF] or head[COVERED] != (1 << len(serials)) - 1:
            if not head[COVERED] >> serials.index(serial) & 1:
                return None
            record = unpack(octets)
            response = layout.response(record.certificates, answer_head(record.answer), signature)
        else:
            response = layout.response_all_good(serials, head, signature)
        etag = signature[:ETAG_OCTETS].hex().encode()
        return PresignedAnswer(response, head[THIS_UPDATE], head[NEXT_UPDATE], etag)


def _unreadable(generation: Path, error: lmdb.Error) -> StoreError:
    return StoreError(
        "the status store cannot be read; if that stays so, build it anew: sealmint ocsp rebuild",
        place=str(generation),
        value=str(error),
    )


def _seen(certificate: _Standing) -> CertificateStanding:
    state = CertificateState(certificate.state)
    good = state is CertificateState.GOOD
    return CertificateStanding(
        state,
        None if good else certificate.since,
        None if good or certificate.reason == NO_REASON else certificate.reason,
        certificate.not_after,
    )
