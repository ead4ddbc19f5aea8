"""OCSP responses (RFC 6960 section 4.2) in DER: CertIDs, single responses, tbsResponseData, the whole.

Times are whole seconds since the epoch; in the encoding they are GeneralizedTime in Zulu without fractions
(section 4.2.2.1 by way of RFC 5280 section 4.1.2.5.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid
from engine.x509 import der, der_reader
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS

HASH_NAMES = ("sha1", "sha256", "sha384", "sha512")
"""The hashes that a CertID may be asked with."""

_HASH_OBJECT_IDENTIFIERS = MappingProxyType(
    {
        "sha1": "1.3.14.3.2.26",  # RFC 3279 section 2.2.1 by way of OIW
        "sha256": "2.16.840.1.101.3.4.2.1",  # FIPS 180-4, RFC 5754 section 2
        "sha384": "2.16.840.1.101.3.4.2.2",
        "sha512": "2.16.840.1.101.3.4.2.3",
    }
)
_BASIC = "1.3.6.1.5.5.7.48.1.1"  # id-pkix-ocsp-basic, section 4.2.1
_ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6"  # id-pkix-ocsp-archive-cutoff, section 4.4.4


class ResponseStatus(IntEnum):
    """OCSPResponseStatus (section 4.2.1)."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6

    @property
    def label(self) -> str:
        """The name in metrics."""
        return self.name.lower().replace("_", "-")


def error_response(status: ResponseStatus) -> bytes:
    """An OCSPResponse that says why there is no answer; it has no responseBytes and no signature."""
    return der.sequence(der.element(0x0A, bytes((status,))))


@dataclass(frozen=True)
class IssuerNames:
    """What a CertID says of an issuer, before it is hashed.

    Attributes:
        name: its Name, DER.
        key: the contents of the BIT STRING in its SubjectPublicKeyInfo, without the octet of unused bits.
    """

    name: bytes
    key: bytes

    def hashes(self, hash_name: str) -> tuple[bytes, bytes]:
        """Return issuerNameHash and issuerKeyHash under a hash of `HASH_NAMES` (section 4.1.1)."""
        return (
            hashlib.new(hash_name, self.name, usedforsecurity=False).digest(),
            hashlib.new(hash_name, self.key, usedforsecurity=False).digest(),
        )

    @classmethod
    def from_certificate(cls, certificate: bytes) -> IssuerNames:
        """Take them from a CA certificate, DER.

        Raises:
            ConfigurationInvalid: it cannot be read.
        """
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            spki = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except ValueError as error:
            raise ConfigurationInvalid(
                "this is no certificate", place="issuer certificate", value=str(error)
            ) from error
        return cls(parsed.subject.public_bytes(), key_octets(spki))


def key_octets(spki: bytes) -> bytes:
    """The contents of the BIT STRING of a SubjectPublicKeyInfo, DER: what KeyHash is the SHA-1 of (section 4.2.1)."""
    start, end = der_reader.expect_last(spki, 0, len(spki), der.SEQUENCE)
    after_algorithm = der_reader.expect(spki, start, end, der.SEQUENCE)[1]
    bits, end = der_reader.expect_last(spki, after_algorithm, end, der.BIT_STRING)
    return spki[bits + 1 : end]


@dataclass(frozen=True, slots=True)
class SingleStatus:
    """CertStatus (section 4.2.1).

    Attributes:
        state: which of the three.
        since: revocationTime, seconds; only with `revoked`.
        reason: revocationReason, a CRLReason; None leaves it out.
    """

    state: Literal["good", "revoked", "unknown"]
    since: int | None = None
    reason: int | None = None


def hash_algorithm(hash_name: str) -> bytes:
    """The AlgorithmIdentifier of a hash with parameters NULL: what clients send and expect back."""
    return der.sequence(der.object_identifier(_HASH_OBJECT_IDENTIFIERS[hash_name]), der.null())


def cert_id(hash_name: str, issuer: IssuerNames, serial: bytes) -> bytes:
    """A CertID (section 4.1.1).

    Args:
        hash_name: one of `HASH_NAMES`.
        issuer: whose certificate is meant.
        serial: the content octets of its serialNumber.
    """
    name_hash, key_hash = issuer.hashes(hash_name)
    return der.sequence(
        hash_algorithm(hash_name),
        der.octet_string(name_hash),
        der.octet_string(key_hash),
        der.element(der.INTEGER, serial),
    )


def time_octets(moment: int) -> bytes:
    """The fifteen content octets of a GeneralizedTime, YYYYMMDDHHMMSSZ."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d%H%M%SZ").encode("ascii")


def generalized_time(moment: int) -> bytes:
    """A GeneralizedTime in whole seconds."""
    return der.element(der.GENERALIZED_TIME, time_octets(moment))


def archive_cutoff(moment: int) -> bytes:
    """The archive cutoff extension (section 4.4.4), not critical."""
    return extension(_ARCHIVE_CUTOFF, generalized_time(moment))


def extension(dotted: str, value: bytes) -> bytes:
    """An Extension that is not critical."""
    return der.sequence(der.object_identifier(dotted), der.octet_string(value))


def cert_status(status: SingleStatus) -> bytes:
    """The encoding of a CertStatus."""
    if status.state == "good":
        return der.context(0, constructed=False)
    if status.state == "unknown":
        return der.context(2, constructed=False)
    if status.since is None:
        raise ValueError("a revoked status needs its time")  # a defect of the caller
    reason = () if status.reason is None else (der.context(0, der.element(0x0A, bytes((status.reason,)))),)
    return der.context(1, generalized_time(status.since), *reason)


def single_response(
    cert_id: bytes,
    status: SingleStatus,
    this_update: int,
    next_update: int | None,
    extensions: bytes = b"",
) -> bytes:
    """A SingleResponse (section 4.2.1).

    Args:
        cert_id: the CertID, DER.
        status: what the certificate is worth.
        this_update: the latest time at which that was known.
        next_update: when there will be newer word; None = it may be asked for at any time.
        extensions: joined Extension values for singleExtensions; empty leaves them out.
    """
    return der.sequence(
        cert_id,
        cert_status(status),
        generalized_time(this_update),
        b"" if next_update is None else der.context(0, generalized_time(next_update)),
        der.context(1, der.sequence(extensions)) if extensions else b"",
    )


def response_data(
    responder_key_hash: bytes, produced_at: int, singles: Sequence[bytes], extensions: bytes = b""
) -> bytes:
    """A tbsResponseData with the responder named by key (section 4.2.1).

    Args:
        responder_key_hash: SHA-1 of the responder's key, see `key_octets`.
        produced_at: when it is signed.
        singles: the SingleResponse values.
        extensions: joined Extension values for responseExtensions; empty leaves them out.
    """
    return der.sequence(
        der.context(2, der.octet_string(responder_key_hash)),
        generalized_time(produced_at),
        der.sequence(*singles),
        der.context(1, der.sequence(extensions)) if extensions else b"",
    )


def assemble_response(
    tbs: bytes, algorithm: SignatureAlgorithm, signature: bytes, certificates: Sequence[bytes]
) -> bytes:
    """A whole OCSPResponse around a signed tbsResponseData.

    Args:
        tbs: the tbsResponseData that was signed.
        algorithm: with what.
        signature: the signature value.
        certificates: the responder's certificate, and what else the relying party may need; may be empty.
    """
    basic = der.sequence(
        tbs,
        ALGORITHM_IDENTIFIERS[algorithm],
        der.bit_string(signature),
        der.context(0, der.sequence(*certificates)) if certificates else b"",
    )
    response_bytes = der.sequence(der.object_identifier(_BASIC), der.octet_string(basic))
    return der.sequence(
        der.element(0x0A, bytes((ResponseStatus.SUCCESSFUL,))), der.context(0, response_bytes)
    )
