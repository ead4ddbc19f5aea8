"""OCSP in DER, written a second time: what an answer signed ahead must be, and a question (RFC 6960 section 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from struct import Struct
from typing import NamedTuple

from cryptography import x509

from engine.checker import der
from engine.checker.authority import key_octets

_INTEGER, _NULL = 0x02, b"\x05\x00"
_HASHES = (
    ("sha1", "2b0e03021a"),  # 1.3.14.3.2.26
    ("sha256", "608648016503040201"),  # 2.16.840.1.101.3.4.2.1
    ("sha384", "608648016503040202"),
    ("sha512", "608648016503040203"),
)
"""The hashes of a CertID with their object identifiers; their places are the bits of `Head.hashes`."""

_ARCHIVE_CUTOFF = bytes.fromhex("2b0601050507300106")  # 1.3.6.1.5.5.7.48.1.6, section 4.4.4
_GOOD = b"\x80\x00"

_HEAD = Struct(">IIHBHIIII")
"""Big-endian, in the order of `Head`: docs/ocsp-answers.md."""


class Head(NamedTuple):
    """What a stored answer says beside the standings; times in seconds since the epoch."""

    revision: int
    serials_check: int
    responder: int
    hashes: int
    covered: int
    produced_at: int
    this_update: int
    next_update: int
    archive_cutoff: int


class Status(NamedTuple):
    """What a certificate is worth to OCSP; times in seconds since the epoch."""

    serial: bytes
    since: int | None
    """revocationTime; None while good."""
    reason: int
    """CRLReason; 0 is left out."""
    not_after: int


def take_apart(answer: bytes) -> tuple[Head, bytes]:
    """Return head and signature of a stored answer.

    Raises:
        struct.error: it is too short.
    """
    return Head._make(_HEAD.unpack_from(answer)), answer[_HEAD.size :]


class CertIds:
    """CertIDs of one issuer (section 4.1.1).

    Args:
        issuer: the CA's certificate.
    """

    def __init__(self, issuer: x509.Certificate) -> None:
        name, key = issuer.subject.public_bytes(), key_octets(issuer)
        self._before = [
            der.element(der.SEQUENCE, der.element(der.OBJECT_IDENTIFIER, bytes.fromhex(identifier)), _NULL)
            + der.element(der.OCTET_STRING, hashlib.new(hash_name, name).digest())
            + der.element(der.OCTET_STRING, hashlib.new(hash_name, key).digest())
            for hash_name, identifier in _HASHES
        ]

    def of(self, serial: bytes, place: int) -> bytes:
        """Return the CertID of a serial (content octets) under a hash, by its place."""
        return der.element(der.SEQUENCE, self._before[place], der.element(_INTEGER, serial))

    def question(self, serial: bytes) -> bytes:
        """Return an OCSPRequest for one certificate under SHA-1, with no extension."""
        octets = self.of(serial, 0)
        for _ in range(4):  # Request, requestList, TBSRequest, OCSPRequest
            octets = der.element(der.SEQUENCE, octets)
        return octets

    def response_data(self, statuses: Sequence[Status], head: Head, responder: x509.Certificate) -> bytes:
        """Return the tbsResponseData that an answer's signature is over: hash by hash, each covered certificate."""
        key_hash = hashlib.sha1(key_octets(responder), usedforsecurity=False).digest()
        return der.element(
            der.SEQUENCE,
            der.element(0xA2, der.element(der.OCTET_STRING, key_hash)),
            _time(head.produced_at),
            der.element(der.SEQUENCE, *self._singles(statuses, head)),
        )

    def _singles(self, statuses: Sequence[Status], head: Head) -> Iterable[bytes]:
        covered = [status for place, status in enumerate(statuses) if head.covered >> place & 1]
        tails = [_tail(status, head) for status in covered]
        for place in range(len(_HASHES)):
            if head.hashes >> place & 1:
                for status, tail in zip(covered, tails, strict=True):
                    yield der.element(der.SEQUENCE, self.of(status.serial, place), tail)


def _tail(status: Status, head: Head) -> bytes:
    updates = _time(head.this_update) + der.element(0xA0, _time(head.next_update))
    octets = _GOOD
    if status.since is not None:
        reason = (
            der.element(0xA0, der.element(der.ENUMERATED, bytes((status.reason,)))) if status.reason else b""
        )
        octets = der.element(0xA1, _time(status.since), reason)
    if head.archive_cutoff and status.not_after < head.produced_at:
        value = der.element(der.OCTET_STRING, _time(head.archive_cutoff))
        extension = der.element(der.SEQUENCE, der.element(der.OBJECT_IDENTIFIER, _ARCHIVE_CUTOFF), value)
        updates += der.element(0xA1, der.element(der.SEQUENCE, extension))
    return octets + updates


def _time(moment: int) -> bytes:
    text = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d%H%M%SZ")
    return der.element(der.GENERALIZED_TIME, text.encode("ascii"))
