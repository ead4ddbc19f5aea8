"""The CA and those it certified: what signatures are verified with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import oid

from engine.algorithms import SignatureAlgorithm
from engine.checker import der
from engine.checker.finding import Finding, judge_each
from engine.checker.record import Record

_HASHES: dict[str, HashAlgorithm] = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}


def certificate_of(tbs: bytes, signature: bytes) -> bytes:
    """Put a certificate together of its stored halves (RFC 5280 section 4.1).

    Raises:
        ValueError: the first half is no TBSCertificate.
    """
    return der.signed(tbs, der.sequence_of(tbs)[2].whole, signature)


class Authority:
    """The certificates of a home and of its record.

    Args:
        home: whose `certificates` are read.

    Attributes:
        ca: the CA's certificate.
        by_key: certificates of the record, by key identifiers.
        responders: those that the CA delegated OCSP to, by their rows (RFC 6960 section 4.2.2.2).

    Raises:
        OSError: they cannot be read.
        ValueError: the CA's is no certificate.
    """

    def __init__(self, home: Path) -> None:
        directory = home / "certificates"
        self.ca = x509.load_der_x509_certificate((directory / "ca.der").read_bytes())
        root = directory / "root.der"
        self._issuers = [self.ca]
        if root.is_file():
            self._issuers.append(x509.load_der_x509_certificate(root.read_bytes()))
        self.by_key: dict[bytes, x509.Certificate] = {}
        self.responders: dict[int, x509.Certificate] = {}

    def read(self, record: Record) -> Iterator[Finding]:
        """Take the certificates of the record in; yield those that neither the CA nor its root signed."""
        rows = record.rows(
            "SELECT id, key_identifier, serial, tbs, signature FROM authority_certificate"
            " WHERE signature IS NOT NULL ORDER BY id"
        )
        yield from judge_each("authority", "authority_certificate", rows, self._take)

    def _take(
        self, number: int, identifier: bytes, serial: bytes, tbs: bytes, signature: bytes
    ) -> Iterable[str]:
        certificate = x509.load_der_x509_certificate(certificate_of(tbs, signature))
        if certificate.serial_number != int.from_bytes(serial):
            yield "the serial is not the one reserved"
        for issuer in self._issuers:
            if issuer.subject == certificate.issuer:
                certificate.verify_directly_issued_by(issuer)
                self.by_key[identifier] = certificate
                if _answers_ocsp(certificate):
                    self.responders[number] = certificate
                return
        yield "neither the CA nor its root is the issuer"


def _answers_ocsp(certificate: x509.Certificate) -> bool:
    return any(
        isinstance(one.value, x509.ExtendedKeyUsage) and oid.ExtendedKeyUsageOID.OCSP_SIGNING in one.value
        for one in certificate.extensions
    )


def verify(
    certificate: x509.Certificate,
    signature: bytes,
    message: bytes,
    algorithm: SignatureAlgorithm = SignatureAlgorithm.RSA_PKCS1_SHA256,
) -> None:
    """Verify a signature over a message with a certificate's key.

    Raises:
        InvalidSignature: it does not verify.
        TypeError: the key is of another kind.
    """
    verify_digest(certificate, signature, hashlib.new(algorithm.hash_name, message).digest(), algorithm)


def verify_digest(
    certificate: x509.Certificate, signature: bytes, digest: bytes, algorithm: SignatureAlgorithm
) -> None:
    """Verify a signature over a message of which the digest is known; raises as `verify` does."""
    key, chosen = certificate.public_key(), _HASHES[algorithm.hash_name]
    if isinstance(key, rsa.RSAPublicKey) and algorithm.is_deterministic:
        key.verify(signature, digest, padding.PKCS1v15(), Prehashed(chosen))
    elif isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(chosen), padding.PSS.DIGEST_LENGTH)  # RFC 4055 section 3.1
        key.verify(signature, digest, pss, Prehashed(chosen))
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, digest, ec.ECDSA(Prehashed(chosen)))
    else:
        raise TypeError("neither an RSA nor an EC key")


def key_octets(certificate: x509.Certificate) -> bytes:
    """Return the content of the BIT STRING in a certificate's SubjectPublicKeyInfo, without the unused bits' count."""
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der.sequence_of(info)[1].content[1:]
