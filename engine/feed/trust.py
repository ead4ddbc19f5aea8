"""Whom a public host believes: the pinned root, the CA under it, and the operations key that signs the feed."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from engine.algorithms import SignatureAlgorithm
from engine.authority.role_certificates import certificate_of
from engine.errors import FeedRejected, HomeUnusable, SealmintError
from engine.home import Home
from engine.x509 import der, der_reader
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.issuer import Issuer

_ALGORITHMS = {octets: algorithm for algorithm, octets in ALGORITHM_IDENTIFIERS.items()}


@dataclass(frozen=True, slots=True)
class FeedTrust:
    """Whom this host believes.

    Attributes:
        root: DER; what the operator compared.
        ca: whose certificates, CRLs and responders are taken.
        operations: the certificate of the key that signs the feed, DER.
        issuer: name, key identifier and algorithm of the CA.
    """

    root: bytes
    ca: x509.Certificate
    operations: bytes
    issuer: Issuer

    @property
    def feed(self) -> str:
        """The name of the feed: the key identifier of the CA certificate."""
        return self.issuer.key_identifier.hex()

    @property
    def ca_octets(self) -> bytes:
        """The CA certificate, DER."""
        return self.ca.public_bytes(Encoding.DER)


def trust_in(root: bytes, ca: bytes, operations: bytes) -> FeedTrust:
    """Check that the CA is certified by the root, and the operations key by the CA.

    Args:
        root: the root certificate, DER.
        ca: the CA certificate, DER.
        operations: the certificate of the key that signs the feed, DER.

    Raises:
        FeedRejected: they are not.
    """
    root_certificate = certificate_from(root, "root certificate")
    ca_certificate = certificate_from(ca, "CA certificate")
    operations_certificate = certificate_from(operations, "operations certificate")
    check_issued(root_certificate, root_certificate, "root certificate")
    check_issued(ca_certificate, root_certificate, "CA certificate")
    check_issued(operations_certificate, ca_certificate, "operations certificate")
    algorithm = algorithm_of(operations_certificate)  # the CA signs everything with the same
    try:
        return FeedTrust(root, ca_certificate, operations, Issuer.from_certificate(ca, algorithm))
    except SealmintError as error:
        raise FeedRejected("this is no CA certificate", place="CA certificate", rule=error.message) from error


def load_trust(home: Home) -> FeedTrust:
    """Read whom this host believes.

    Raises:
        HomeUnusable: it was not told, or its files do not belong together.
    """
    root, ca, operations = (certificate_of(home, role) for role in ("root", "ca", "operations"))
    try:
        return trust_in(root, ca, operations)
    except FeedRejected as error:
        raise HomeUnusable(
            "the certificates of this home do not belong together; join again: sealmint feed join",
            place=str(home.certificates),
            rule=str(error),
        ) from error


def certificate_from(octets: bytes, place: str) -> x509.Certificate:
    """Read a certificate, DER.

    Raises:
        FeedRejected: it is none.
    """
    try:
        return x509.load_der_x509_certificate(octets)
    except ValueError as error:
        raise FeedRejected("this is no certificate", place=place, rule="RFC 5280 section 4.1") from error


def check_issued(certificate: x509.Certificate, issuer: x509.Certificate, place: str) -> None:
    """Check that a certificate names an issuer and that its key signed it (RFC 5280 section 6.1.3 (a)).

    Raises:
        FeedRejected: it is not so.
    """
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise FeedRejected(
            "a certificate is not signed by its issuer",
            place=place,
            value=f"{certificate.serial_number:x}",
            rule="RFC 5280 section 6.1.3",
        ) from error


def algorithm_of(certificate: x509.Certificate) -> SignatureAlgorithm:
    """Return the algorithm that a certificate was signed with.

    Raises:
        FeedRejected: it is none of ours.
    """
    tbs = certificate.tbs_certificate_bytes
    position, end = der_reader.expect_last(tbs, 0, len(tbs), der.SEQUENCE)
    for _ in range(2):  # version, serialNumber
        position = der_reader.read(tbs, position, end)[2]
    return algorithm_from(tbs[position : der_reader.expect(tbs, position, end, der.SEQUENCE)[1]])


def algorithm_from(identifier: bytes) -> SignatureAlgorithm:
    """Return the algorithm that an AlgorithmIdentifier, DER, names.

    Raises:
        FeedRejected: it is none of ours.
    """
    algorithm = _ALGORITHMS.get(identifier)
    if algorithm is None:
        raise FeedRejected(
            "a signature algorithm is not accepted", place="AlgorithmIdentifier", value=identifier.hex()
        )
    return algorithm
