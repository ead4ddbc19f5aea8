"""A card's status as it is kept: what varies, packed; the rest of an OCSP response is the same for all.

A record has the standing of each of the card's certificates and, if one is signed, the answer that covers them. The
answer counts only for the very revision and the very certificates that it was made of.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

from engine.errors import StoreError
from engine.store.standings import CardStanding
from engine.x509.serial_numbers import SERIAL_OCTETS

MOST_CERTIFICATES = 16
"""Of a card: bits of the mask of covered certificates. A card has two; an e-mail added later or a new CA key can bring
more (CPS 3.1.11, 4.8.2)."""

NO_REASON = 0xFF
"""Stands for a reason that is left out: `unspecified`, or none (RFC 5280 section 5.3.1)."""

_MICROSECONDS = 1_000_000


class CertificateStanding(NamedTuple):
    """What one certificate is worth; times in seconds since the epoch."""

    serial: bytes
    state: int
    """A CertificateState, as a plain number: this is the hot path."""
    since: int
    """revocationDate; 0 while good."""
    reason: int
    """CRLReason, or `NO_REASON`."""
    not_after: int


class AnswerHead(NamedTuple):
    """What a signed answer says beside the standings; times in seconds since the epoch."""

    revision: int
    """Of the card, when the standings were read."""
    serials_check: int
    """CRC-32 over the serials of the card: a certificate more makes another answer necessary."""
    responder: int
    """The certificate the answer needs: its row in authority_certificate."""
    hashes: int
    """Bit i: the i-th of HASH_NAMES is covered."""
    covered: int
    """Bit i: the i-th certificate of the card is covered."""
    produced_at: int
    this_update: int
    next_update: int
    archive_cutoff: int
    """For the covered certificates that have expired; 0 = none."""


RESPONDER, HASHES, COVERED, THIS_UPDATE, NEXT_UPDATE, ARCHIVE_CUTOFF = 2, 3, 4, 6, 7, 8
"""Places in an answer's head, for the hot path that reads it as a plain tuple."""

ANSWER_HEAD = Struct(">IIHBHIIII")
_STANDING = f"{SERIAL_OCTETS}sBIBI"
_CARDS = tuple(  # revision, issuer, number of certificates, and these
    Struct(">IBB" + _STANDING * count) for count in range(MOST_CERTIFICATES + 1)
)


class CardRecord(NamedTuple):
    """A card as the status store has it."""

    revision: int
    issuer: int
    """Index of the CA key that issued the certificates."""
    certificates: tuple[CertificateStanding, ...]
    answer: bytes
    """`ANSWER_HEAD` and the signature; empty while there is none."""

    @property
    def serials_check(self) -> int:
        """CRC-32 over the serials, in their order."""
        return serials_check([certificate.serial for certificate in self.certificates])


def serials_check(serials: Sequence[bytes]) -> int:
    """CRC-32 over serials in the order of their items."""
    return zlib.crc32(b"".join(serials))


def pack_answer(head: AnswerHead, signature: bytes) -> bytes:
    """Pack a signed answer as both stores keep it."""
    return ANSWER_HEAD.pack(*head) + signature


def answer_head(answer: bytes) -> AnswerHead:
    """Read the head of a packed answer."""
    return AnswerHead._make(ANSWER_HEAD.unpack_from(answer))


def record_of(card: CardStanding, issuer: int, answer: bytes = b"") -> CardRecord:
    """Make a card's record of what the SQL store says.

    Args:
        card: the standings as just read.
        issuer: index of the issuing CA key.
        answer: the stored answer. It is left out if it is not of this revision and these certificates.

    Raises:
        StoreError: a card with more certificates than a record can hold.
    """
    if len(card.certificates) > MOST_CERTIFICATES:
        raise StoreError(
            "a card has too many certificates",
            place=f"card {card.card_id}",
            value=len(card.certificates),
            rule=f"at most {MOST_CERTIFICATES}",
        )
    certificates = tuple(
        CertificateStanding(
            standing.serial,
            standing.state,
            (standing.since or 0) // _MICROSECONDS,
            NO_REASON if not standing.reason else standing.reason,
            standing.not_after // _MICROSECONDS,
        )
        for standing in card.certificates
    )
    record = CardRecord(card.revision, issuer, certificates, answer)
    if answer:
        head = answer_head(answer)
        if head.revision != card.revision or head.serials_check != record.serials_check:
            return record._replace(answer=b"")
    return record


def pack(record: CardRecord) -> bytes:
    """Pack a record for the status store."""
    values: list[bytes | int] = [record.revision, record.issuer, len(record.certificates)]
    for certificate in record.certificates:
        values += certificate
    return _CARDS[len(record.certificates)].pack(*values) + record.answer


def plain_octets(octets: bytes) -> int | None:
    """Return how long a packed record is without its answer; None where the octets cannot be one."""
    if len(octets) < _CARDS[0].size or not 0 < octets[5] <= MOST_CERTIFICATES:
        return None
    size = _CARDS[octets[5]].size
    return size if size <= len(octets) else None


def unpack(octets: bytes) -> CardRecord:
    """Read a packed record."""
    form = _CARDS[octets[5]]
    revision, issuer, _count, *values = form.unpack_from(octets)
    certificates = tuple(
        CertificateStanding(
            values[place],
            values[place + 1],
            values[place + 2],
            values[place + 3],
            values[place + 4],
        )
        for place in range(0, len(values), 5)
    )
    return CardRecord(revision, issuer, certificates, octets[form.size :])


def unpack_plainly(octets: bytes) -> tuple[tuple[Any, ...], tuple[int, ...] | None, bytes]:
    """Read a packed record as plain tuples: three values and five for each certificate, answer head, signature.

    The hot path's way: a named tuple costs as much as everything else (bench.ocsp).
    """
    form = _CARDS[octets[5]]
    size = form.size
    if len(octets) == size:
        return form.unpack_from(octets), None, b""
    return form.unpack_from(octets), ANSWER_HEAD.unpack_from(octets, size), octets[size + ANSWER_HEAD.size :]
