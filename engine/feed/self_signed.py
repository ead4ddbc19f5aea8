"""The certificates with which the two ends of the feed know each other: self-signed, pinned, of no CA's.

Neither end needs a path to be built: each has the very certificate of the other. So the CA key certifies no machine,
and who may read the feed is a list of files.
"""

from __future__ import annotations

import re
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.clock import Clock
from engine.errors import HomeUnusable, InputRejected

VALIDITY = timedelta(days=3_652)
"""Ten years. A guess: what is pinned needs no end of its own; whoever is no longer wanted is dismissed."""

BACKDATED = timedelta(hours=1)
"""How long before now it begins: the clock of the other end may stand a little behind. A guess."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")
"""A name that is a file name anywhere; no longer than a commonName may be (RFC 5280 appendix A.1)."""

_PLACE = "certificate of a reader"


def new_key() -> bytes:
    """Make an ECDSA P-256 key; PEM, not encrypted."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def self_signed(name: str, key: bytes, clock: Clock) -> bytes:
    """Make a certificate for a key that it signs itself, for both ends of TLS; PEM.

    Args:
        name: its commonName.
        key: the private key, PEM.
        clock: tells when it begins.

    Raises:
        InputRejected: the name is not plain.
        HomeUnusable: the key cannot be read.
    """
    check_name(name)
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HomeUnusable("the private key cannot be read", place="secrets", rule=str(error)) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise HomeUnusable("the private key is not ECDSA", place="secrets")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - BACKDATED)
        .not_valid_after(clock.now() + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(private, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def read_request(request: bytes) -> tuple[str, x509.Certificate]:
    """Read what a public host hands in: one certificate that it signed itself; PEM.

    Returns:
        Its name, and the certificate.

    Raises:
        InputRejected: it is not one such certificate, or its name is not plain.
    """
    try:
        certificates = x509.load_pem_x509_certificates(request)
    except ValueError as error:
        raise InputRejected("this is no certificate", place=_PLACE, rule="PEM, RFC 7468") from error
    if len(certificates) != 1:
        raise InputRejected("there must be one certificate", place=_PLACE, value=len(certificates))
    certificate = certificates[0]
    try:
        certificate.verify_directly_issued_by(certificate)
        key = certificate.public_key()
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise InputRejected(
            "the certificate is not signed by its own key",
            place=_PLACE,
            rule="whoever asks proves that he has the key",
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InputRejected("the key is not one for the feed", place=_PLACE, rule="ECDSA P-256")
    name = str(names[0].value) if len(names) == 1 else ""
    check_name(name)
    return name, certificate


def check_name(name: str) -> None:
    """Check that a name can be that of a reader.

    Raises:
        InputRejected: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise InputRejected(
            "this cannot be the name of a reader",
            place="name",
            value=name,
            rule="1 to 64 of a-z, 0-9, point and hyphen; a letter or digit at either end",
        )


def key_of(certificate: x509.Certificate) -> bytes:
    """Return the SubjectPublicKeyInfo, DER."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
