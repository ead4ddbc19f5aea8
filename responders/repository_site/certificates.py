"""Certificates and their status: what is found for a question."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from engine.errors import HomeUnusable, SealmintError
from engine.repository.certificate_index import PublishedCertificate
from engine.status.crl_reasons import CrlReason
from engine.status.status_store import CertificateStanding
from engine.store.schema import CertificateState
from responders.repository_site.answers import (
    API,
    Certificate,
    CertificateDetails,
    CertificatePage,
    State,
    Status,
    moment,
)
from responders.repository_site.questions import CertificateQuestion
from responders.repository_site.site import RepositorySite

_STATES = {
    CertificateState.GOOD: State.GOOD,
    CertificateState.HELD: State.SUSPENDED,
    CertificateState.REVOKED: State.REVOKED,
}


async def found(site: RepositorySite, question: CertificateQuestion) -> CertificatePage:
    """Return the certificates that a question is about.

    Raises:
        StoreError: the index cannot be read.
        Overloaded: too many are searching.
    """
    try:
        rows = await site.read(_rows, site, question)
    except HomeUnusable:  # nothing came over the feed yet
        rows = []
    shown = rows[: question.limit]
    following = shown[-1].item_id if len(rows) > question.limit else None
    statuses = _statuses(site, [row.serial for row in shown])
    return CertificatePage(
        certificates=[Certificate(**_fields(row, statuses)) for row in shown], next=following
    )


def _rows(site: RepositorySite, question: CertificateQuestion) -> list[PublishedCertificate]:
    """One more than asked for, which tells whether there is another page."""
    if question.serial is not None:
        return site.index.by_serial(bytes.fromhex(question.serial))
    if question.number is not None:
        return site.index.by_number(question.number, question.after, question.limit + 1)
    return site.index.by_name(question.name or "", question.after, question.limit + 1)


async def published(site: RepositorySite, serial: bytes) -> PublishedCertificate | None:
    """Return the published certificate with a serial number; None where none is published, issued or not.

    Raises:
        StoreError: the index cannot be read.
        Overloaded: too many are searching.
    """
    try:
        rows = await site.read(site.index.by_serial, serial)
    except HomeUnusable:
        return None
    return rows[0] if rows else None


def details(site: RepositorySite, row: PublishedCertificate) -> CertificateDetails:
    """Return a certificate with what is in it. For the event loop of the status store."""
    certificate = x509.load_der_x509_certificate(row.certificate)
    path = f"{API}/certificates/{hexadecimal(row.serial)}"
    return CertificateDetails(
        **_fields(row, _statuses(site, [row.serial])),
        subject=name_text(certificate.subject),
        issuer=name_text(certificate.issuer),
        public_key=key_text(certificate),
        sha256=hashlib.sha256(row.certificate).hexdigest(),
        der=f"{path}.cer",
        pem=f"{path}.pem",
    )


def status(site: RepositorySite, serial: bytes) -> Status | None:
    """Return the status of any certificate, published or not; None while this host cannot tell.

    For the event loop of the status store.
    """
    return _statuses(site, [serial]).get(serial)


def _statuses(site: RepositorySite, serials: Iterable[bytes]) -> dict[bytes, Status]:
    """None of them where the store is not current: like the OCSP answers, which are tryLater then."""
    reader = site.status
    try:
        reader.reopen_if_replaced()
        if not reader.freshness().is_current(site.now, site.stale_seconds):
            return {}
        return {serial: _status(site, serial) for serial in serials}
    except SealmintError:
        return {}


def _status(site: RepositorySite, serial: bytes) -> Status:
    standing: CertificateStanding | None = None
    for issuer in site.status.issuers:
        standing = standing or site.status.standing(issuer.index, serial)
    if standing is None:
        return Status(serial=hexadecimal(serial), state=State.UNKNOWN, since=None, reason=None)
    return Status(
        serial=hexadecimal(serial),
        state=_STATES[standing.state],
        since=None if standing.since is None else moment(standing.since),
        reason=None if standing.reason is None else CrlReason(standing.reason).name,
    )


def _fields(row: PublishedCertificate, statuses: dict[bytes, Status]) -> dict[str, Any]:
    status = statuses.get(row.serial)
    return {
        "serial": hexadecimal(row.serial),
        "kind": row.subject_kind,
        "name": row.name,
        "unit_name": row.unit_name,
        "county": row.county,
        "number": row.number,
        "usage": row.usage,
        "rank": row.rank,
        "not_before": moment(row.not_before),
        "not_after": moment(row.not_after),
        "status": None
        if status is None or status.state is State.UNKNOWN
        else status,  # the status comes after
    }


def hexadecimal(serial: bytes) -> str:
    """Return a serial number as everything here writes it."""
    return serial.hex().upper()


def name_text(name: x509.Name) -> str:
    """Return a name as RFC 4514 writes attributes, but in the order in which the name has them (CPS 3.1.4)."""
    names = {x509.NameOID.SERIAL_NUMBER: "serialNumber"}
    return ", ".join(part.rfc4514_string(names) for part in name.rdns)


def key_text(certificate: x509.Certificate) -> str:
    """Return kind and size of a certificate's key, such as RSA 2048."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    return type(key).__name__


def pem(octets: bytes) -> bytes:
    """Return a certificate as PEM (RFC 7468)."""
    return x509.load_der_x509_certificate(octets).public_bytes(Encoding.PEM)
