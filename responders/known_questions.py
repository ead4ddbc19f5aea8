"""Which issuer a question is about; and the questions that are recognised without being parsed.

Most clients send the same octets for every certificate of an issuer, but for the serial at the end: one certificate, no
extensions, DER. All that stands before the serial is constant, outer lengths included, because every serial of ours has
as many octets (decision 0005). So a request without its last octets is looked up in a table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.status.parties import KnownIssuer
from engine.x509 import der
from engine.x509.ocsp_response import HASH_NAMES, cert_id, hash_algorithm
from engine.x509.serial_numbers import SERIAL_OCTETS
from responders.ocsp_request import AskedCertificate


class KnownIssuers:
    """Finds the issuer that a CertID names, under every hash.

    Args:
        issuers: the CA keys that are answered for.
    """

    def __init__(self, issuers: Iterable[KnownIssuer]) -> None:
        self._by_hashes = {
            (hash_name, *issuer.names.hashes(hash_name)): issuer
            for issuer in issuers
            for hash_name in HASH_NAMES
        }

    def of(self, asked: AskedCertificate) -> KnownIssuer | None:
        """Return the issuer of a certificate; None where it is none of ours, or the hash is not known."""
        return self._by_hashes.get((asked.hash_name or "", asked.issuer_name_hash, asked.issuer_key_hash))


def questions_before_serial(issuers: Iterable[KnownIssuer], hash_names: Collection[str]) -> dict[bytes, int]:
    """Return the index of the issuer by all that stands before the serial in a plain request.

    Args:
        issuers: the CA keys that are answered for.
        hash_names: the CertID hashes that signed answers cover; each is sent with parameters NULL and without.
    """
    return {
        _plain_request(one)[:-SERIAL_OCTETS]: issuer.index
        for issuer in issuers
        for hash_name in hash_names
        for one in _spellings(cert_id(hash_name, issuer.names, bytes(SERIAL_OCTETS)), hash_name)
    }


def _spellings(encoding: bytes, hash_name: str) -> tuple[bytes, bytes]:
    """A CertID as it is, and with the hash parameters absent (RFC 5754 section 2 wants the latter)."""
    algorithm = hash_algorithm(hash_name)
    rest = encoding[encoding.index(algorithm) + len(algorithm) :]
    return encoding, der.sequence(der.sequence(algorithm[2 : -len(der.null())]), rest)


def _plain_request(certificate_id: bytes) -> bytes:
    """An OCSPRequest for one certificate: version and extensions left out (RFC 6960 section 4.1.1)."""
    return der.sequence(der.sequence(der.sequence(der.sequence(certificate_id))))
