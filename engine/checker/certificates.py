"""Every signed reservation is a certificate of the CA, once for each serial and key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from engine.checker import der
from engine.checker.authority import Authority
from engine.checker.finding import Finding, judge_each
from engine.checker.record import Record

_SIGNED = (
    "SELECT signature.item_id, reservation.serial, reservation.not_after, reservation.tbs, signature.signature,"
    " item.public_key, certificate_status.not_after FROM signature"
    " LEFT JOIN reservation ON reservation.item_id = signature.item_id"
    " LEFT JOIN item ON item.id = signature.item_id"
    " LEFT JOIN certificate_status ON certificate_status.item_id = signature.item_id"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_certificates(record: Record, authority: Authority) -> Iterator[Finding]:
    """Assemble every certificate; compare serial, end and key with the record, and verify it (RFC 5280 section 4.1).

    A key is certified once: the two occasions on which it may be again (CPS 4.8.2, 4.8.3) do not exist yet.
    """
    serials: set[bytes] = set()
    keys: set[bytes] = set()

    def faults(
        item: int,
        serial: bytes | None,
        not_after: int,
        tbs: bytes,
        signature: bytes,
        key: bytes | None,
        status_not_after: int | None,
    ) -> Iterable[str]:
        if serial is None or key is None or status_not_after is None:
            yield "signed, but the reservation, the item or the status is missing"
            return
        yield from _faults(authority.ca, serial, not_after, tbs, signature, key)
        if not_after != status_not_after:
            yield "its status has another end of validity"
        for seen, value, name in ((serials, serial, "serial"), (keys, hashlib.sha256(key).digest(), "key")):
            if value in seen:
                yield f"a second certificate of this {name}"
            seen.add(value)

    yield from judge_each("certificate", "signature", record.rows(_SIGNED), faults)


def _faults(
    ca: x509.Certificate, serial: bytes, not_after: int, tbs: bytes, signature: bytes, key: bytes
) -> Iterable[str]:
    # version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    parts = der.sequence_of(tbs)
    certificate = x509.load_der_x509_certificate(der.signed(tbs, parts[2].whole, signature))
    if certificate.serial_number != int.from_bytes(serial):
        yield "the serial is not the one reserved"
    if (certificate.not_valid_after_utc - _EPOCH) // timedelta(microseconds=1) != not_after:
        yield "the end of its validity is not the one reserved"
    if parts[6].whole != key:
        yield "the key is not the item's"
    certificate.verify_directly_issued_by(ca)
