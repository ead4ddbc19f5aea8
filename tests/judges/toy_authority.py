"""A small certification authority made with `cryptography`, for answers that are right or wrong on purpose.

Its certificates look like the real ones where judges look: two CRL distribution points, one OCSP address, one directory
name for the CA, and two CA keys under that name (the impostor's is the second).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
"""The judges go by the machine's clock, so the toy does as well."""
HOUR = timedelta(hours=1)

_FLAGS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def name_of(unit: str) -> x509.Name:
    """A directory name as in the real certificates."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "行政院"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Holder:
    """A key with a certificate of it."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def key_hash(self) -> bytes:
        """SHA-1 of the public key: a byKey ResponderID (RFC 6960 section 4.2.1), and our key identifiers."""
        return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest


def _key_usage(*set_flags: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{flag: flag in set_flags for flag in _FLAGS})


def _certificate(
    subject: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer: Holder | None,
    extensions: list[tuple[x509.ExtensionType, bool]],
    *,
    until: datetime = NOW + 1000 * HOUR,
    since: datetime = NOW - 1000 * HOUR,
) -> x509.Certificate:
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, SHA256())


class ToyAuthority:
    """The root, the CA, an impostor with the CA's name, and their responders; keys are made when first asked for."""

    @cached_property
    def root(self) -> Holder:
        return self._authority("政府憑證總管理中心", None)

    @cached_property
    def ca(self) -> Holder:
        return self._authority("工商憑證管理中心", self.root)

    @cached_property
    def impostor(self) -> Holder:
        """Another CA key under the CA's name, from another root of the same name."""
        return self._authority("工商憑證管理中心", self._authority("政府憑證總管理中心", None))

    @cached_property
    def responder(self) -> Holder:
        return self._responder(self.ca)

    @cached_property
    def impostor_responder(self) -> Holder:
        return self._responder(self.impostor)

    @cached_property
    def unauthorised_responder(self) -> Holder:
        """A certificate of the CA without id-kp-OCSPSigning."""
        return self._responder(self.ca, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)

    @cached_property
    def expired_responder(self) -> Holder:
        return self._responder(self.ca, until=NOW - HOUR)

    def _authority(self, unit: str, issuer: Holder | None) -> Holder:
        key = new_key()
        constraints = x509.BasicConstraints(ca=True, path_length=0 if issuer else None)
        usage = _key_usage("key_cert_sign", "crl_sign")
        return Holder(key, _certificate(name_of(unit), key, issuer, [(constraints, True), (usage, True)]))

    def _responder(
        self,
        issuer: Holder,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.OCSP_SIGNING,
        until: datetime = NOW + 100 * HOUR,
    ) -> Holder:
        key = new_key()
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (_key_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (x509.OCSPNoCheck(), False),
        ]
        return Holder(key, _certificate(name_of("OCSP"), key, issuer, extensions, until=until))

    @cached_property
    def _subscriber_key(self) -> rsa.RSAPrivateKey:
        return new_key()

    def subscriber(
        self, ocsp: str, partition: str, complete: str, *, delta: str | None = None
    ) -> x509.Certificate:
        """Issue a signature certificate that names these addresses; one key serves all of them."""
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)
        )
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.AuthorityInformationAccess([access]), False),
            (_key_usage("digital_signature"), True),
            (x509.CRLDistributionPoints([_point(partition), _point(complete)]), False),
        ]
        if delta is not None:
            extensions.append((x509.FreshestCRL([_point(delta)]), False))
        return _certificate(name_of("公司"), self._subscriber_key, self.ca, extensions)


def _point(uri: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(uri)], None, None, None)
