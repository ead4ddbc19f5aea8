"""The OCSP responders of a CA key: certificates that the CA delegated answering to (RFC 6960 section 4.2.2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, select

from engine.algorithms import SignatureAlgorithm
from engine.authority.role_certificates import RoleCertificate
from engine.pkcs11.keys import KeyReference
from engine.store.schema import authority_certificate
from engine.x509.certificate import assemble

OCSP_ROLE = "ocsp"
"""The first responder's role; those that follow it are ocsp-2, ocsp-3 ..."""


@dataclass(frozen=True, slots=True)
class OcspResponderCertificate:
    """A responder certificate.

    Attributes:
        number: its row in authority_certificate: how stored answers name it.
        role: its role with certificate and key.
        not_before: its beginning.
        not_after: its end.
    """

    number: int
    role: RoleCertificate
    not_before: datetime
    not_after: datetime


def ocsp_responders(connection: Connection, algorithm: SignatureAlgorithm) -> list[OcspResponderCertificate]:
    """Return the responder certificates that were issued, oldest first.

    Args:
        connection: a snapshot.
        algorithm: with what the CA signs.
    """
    rows = connection.execute(
        select(authority_certificate)
        .where(
            authority_certificate.c.role.startswith(OCSP_ROLE), authority_certificate.c.signature.is_not(None)
        )
        .order_by(authority_certificate.c.id)
    )
    found = []
    for row in rows:
        certificate = assemble(row.tbs, algorithm, row.signature)
        parsed = x509.load_der_x509_certificate(certificate)
        key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        role = RoleCertificate(row.role, certificate, key, row.key_identifier, KeyReference(row.key_label))
        found.append(
            OcspResponderCertificate(row.id, role, parsed.not_valid_before_utc, parsed.not_valid_after_utc)
        )
    return found


def responder_in_charge(
    responders: list[OcspResponderCertificate], now: datetime
) -> OcspResponderCertificate | None:
    """Return the newest responder that is valid; None where there is none."""
    valid = [one for one in responders if one.not_before <= now < one.not_after]
    return valid[-1] if valid else None
