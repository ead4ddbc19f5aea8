"""What certificates take from their issuer, and how keys are identified."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid, InputRejected
from engine.x509 import der, der_reader
from engine.x509.certificate_profile import ExtensionContent
from engine.x509.der_reader import NotDer
from engine.x509.validity import Validity


@dataclass(frozen=True, slots=True)
class Issuer:
    """What certificates take from their issuer's certificate.

    Attributes:
        name: its subject, DER as it stands there, so that chains match octet by octet.
        key_identifier: its subjectKeyIdentifier.
        not_after: its end, UTC.
        algorithm: with what its key signs.
    """

    name: bytes
    key_identifier: bytes
    not_after: datetime
    algorithm: SignatureAlgorithm

    @classmethod
    def from_certificate(cls, certificate: bytes, algorithm: SignatureAlgorithm) -> Issuer:
        """Take them from the issuer's certificate, DER.

        Raises:
            ConfigurationInvalid: not a certificate, not a CA's, or without subjectKeyIdentifier.
        """
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            key_identifier = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
            is_ca = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound) as error:
            raise _unfit_issuer(str(error)) from error
        if not is_ca:
            raise _unfit_issuer("basicConstraints does not say CA")
        return cls(
            _subject_of(parsed.tbs_certificate_bytes), key_identifier, parsed.not_valid_after_utc, algorithm
        )

    @classmethod
    def self_signed(
        cls, subject: bytes, public_key: bytes, not_after: datetime, algorithm: SignatureAlgorithm
    ) -> Issuer:
        """The issuer of a root certificate: itself.

        Args:
            subject: its name, DER.
            public_key: its SubjectPublicKeyInfo, DER.
            not_after: the end its certificate will have, aware.
            algorithm: with what its key signs.
        """
        return cls(subject, key_identifier(public_key), not_after.astimezone(UTC), algorithm)


def _unfit_issuer(message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        f"cannot issue under this certificate: {message}",
        place="issuer certificate",
        rule="RFC 5280 sections 4.2.1.2 and 4.2.1.9: a CA certificate has both extensions",
    )


def _subject_of(tbs: bytes) -> bytes:
    position, end = der_reader.expect(tbs, 0, len(tbs), der.SEQUENCE)
    for _ in range(5):  # version, serialNumber, signature, issuer, validity
        position = der_reader.read(tbs, position, end)[2]
    return tbs[position : der_reader.expect(tbs, position, end, der.SEQUENCE)[1]]


@lru_cache(maxsize=64)  # one entry per form of key; a run has one or two
def _key_offset(length: int, spki_start: bytes) -> int:
    """Where the BIT STRING's contents begin in a SubjectPublicKeyInfo that begins so and is so long."""
    spki = spki_start.ljust(length, b"\x00")
    position, end = der_reader.expect_last(spki, 0, length, der.SEQUENCE)
    position = der_reader.expect(spki, position, end, der.SEQUENCE)[1]
    return der_reader.expect_last(spki, position, end, der.BIT_STRING)[0] + 1


def key_identifier(public_key: bytes) -> bytes:
    """SHA-1 of the BIT STRING's contents of a SubjectPublicKeyInfo (RFC 5280 section 4.2.1.2, method 1).

    Raises:
        InputRejected: not a SubjectPublicKeyInfo.
    """
    try:
        offset = _key_offset(len(public_key), public_key[:26])  # where the longest headers end (P-256)
    except NotDer as error:
        raise InputRejected(str(error), place="public key", rule="RFC 5280 section 4.1.2.7") from error
    return hashlib.sha1(public_key[offset:], usedforsecurity=False).digest()


def check_issuable(
    profile: ExtensionContent, issuer: Issuer, validity: Validity, crl_uris: Sequence[str]
) -> None:
    """Check that profile, issuer, validity and distribution points can make a certificate together.

    Raises:
        ConfigurationInvalid: as `compile_template`.
    """
    if not validity.not_before < validity.not_after <= issuer.not_after:
        raise ConfigurationInvalid(
            "the validity does not lie within the issuer's",
            place=profile.name,
            value=f"{validity.not_before.isoformat()}/{validity.not_after.isoformat()}",
            rule=f"notBefore < notAfter <= {issuer.not_after.isoformat()}",
        )
    if any(rule.name == "cRLDistributionPoints" for rule in profile.extensions) is not bool(crl_uris):
        raise ConfigurationInvalid(
            "distribution points and extension do not go together",
            place=profile.name,
            value=list(crl_uris),
            rule="RFC 5280 section 4.2.1.13: at least one point where the profile has the extension",
        )
