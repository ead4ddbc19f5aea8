"""The extensions a profile asks for, encoded by foreign libraries, for the structural check to compare with.

`extensions` encodes the same with our own writer. That the two agree, octet by octet, before every signature is what
the check is worth; so nothing of the writer is used here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from asn1crypto import core as asn1
from asn1crypto import keys as asn1_keys
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from engine.x509.certificate_profile import DirectoryValue, ExtensionContent
from engine.x509.object_identifiers import EXTENSIONS


@dataclass(frozen=True, slots=True)
class ExpectedExtension:
    """One Extension: its identifier, criticality, and the octets of its value."""

    oid: str
    critical: bool
    value: bytes


def expected_extensions(
    profile: ExtensionContent,
    authority_key_identifier: bytes,
    key_identifier: bytes,
    crl_uris: Sequence[str],
    uniform_number: str | None,
    email: str | None,
) -> list[ExpectedExtension]:
    """Return the extensions that a certificate of this profile has, in order."""
    values: dict[str, Callable[[], bytes | None]] = {
        "authorityKeyIdentifier": lambda: x509.AuthorityKeyIdentifier(
            authority_key_identifier, None, None
        ).public_bytes(),
        "subjectKeyIdentifier": lambda: x509.SubjectKeyIdentifier(key_identifier).public_bytes(),
        "authorityInfoAccess": lambda: _authority_info_access(profile),
        "keyUsage": lambda: _key_usage(profile.key_usage),
        "extKeyUsage": lambda: x509.ExtendedKeyUsage(
            [_EXTENDED_KEY_USAGES[name] for name in profile.extended_key_usage]
        ).public_bytes(),
        "ocspNoCheck": lambda: x509.OCSPNoCheck().public_bytes(),
        "basicConstraints": lambda: x509.BasicConstraints(
            ca=True, path_length=profile.path_length
        ).public_bytes(),
        "certificatePolicies": lambda: _certificate_policies(profile.policy),
        "subjectAltName": lambda: _subject_alt_name(email),
        "subjectDirectoryAttributes": lambda: _directory_attributes(
            profile.directory_attributes, uniform_number
        ),
        "cRLDistributionPoints": lambda: _crl_distribution_points(crl_uris),
    }
    return [
        ExpectedExtension(EXTENSIONS[rule.name], rule.critical, value)
        for rule in profile.extensions
        if (value := values[rule.name]()) is not None
    ]


_EXTENDED_KEY_USAGES = MappingProxyType({"OCSPSigning": ExtendedKeyUsageOID.OCSP_SIGNING})


def _authority_info_access(profile: ExtensionContent) -> bytes:
    methods = (
        (AuthorityInformationAccessOID.CA_ISSUERS, profile.ca_issuers),
        (AuthorityInformationAccessOID.OCSP, profile.ocsp),
    )
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(uri))
            for method, uri in methods
            if uri is not None
        ]
    ).public_bytes()


def _key_usage(names: Sequence[str]) -> bytes:
    return x509.KeyUsage(
        digital_signature="digitalSignature" in names,
        content_commitment=False,
        key_encipherment="keyEncipherment" in names,
        data_encipherment="dataEncipherment" in names,
        key_agreement=False,
        key_cert_sign="keyCertSign" in names,
        crl_sign="cRLSign" in names,
        encipher_only=False,
        decipher_only=False,
    ).public_bytes()


def _certificate_policies(policy: str | None) -> bytes | None:
    if policy is None:
        return None
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(policy), None)]
    ).public_bytes()


def _crl_distribution_points(crl_uris: Sequence[str]) -> bytes:
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(uri)], None, None, None) for uri in crl_uris]
    ).public_bytes()


_SYNTAXES = MappingProxyType(
    {
        "object-identifier": asn1.ObjectIdentifier,
        "printable": asn1.PrintableString,
        "utf8": asn1.UTF8String,
    }
)


def _subject_alt_name(email: str | None) -> bytes | None:
    return None if email is None else x509.SubjectAlternativeName([x509.RFC822Name(email)]).public_bytes()


def _directory_attributes(attributes: Sequence[DirectoryValue], uniform_number: str | None) -> bytes:
    encoded: bytes = asn1.SequenceOf(
        [
            asn1_keys.Attribute(
                {
                    "type": attribute.type,
                    "values": [_SYNTAXES[attribute.syntax](attribute.value or uniform_number)],
                }
            )
            for attribute in attributes
        ],
        spec=asn1_keys.Attribute,
    ).dump()
    return encoded
