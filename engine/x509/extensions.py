"""Encoding the extensions of a profile, in its order (RFC 5280 section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from engine.x509 import der
from engine.x509.certificate_profile import DirectoryValue, ExtensionContent
from engine.x509.object_identifiers import (
    ACCESS_METHOD_CA_ISSUERS,
    ACCESS_METHOD_OCSP,
    EXTENDED_KEY_USAGES,
    EXTENSIONS,
    KEY_USAGE_BITS,
)


@dataclass(frozen=True, slots=True)
class ExtensionInputs:
    """What a profile does not know of a single certificate.

    Attributes:
        authority_key_identifier: the issuer's subjectKeyIdentifier.
        key_identifier: the subject's own, 20 octets.
        crl_uris: one distribution point each.
        uniform_number: 統一編號 where the profile has it.
        email: rfc822Name, or None for no subjectAltName.
    """

    authority_key_identifier: bytes
    key_identifier: bytes
    crl_uris: Sequence[str]
    uniform_number: str | None
    email: str | None


def encode_extensions(profile: ExtensionContent, inputs: ExtensionInputs) -> bytes:
    """Encode the content of Extensions: one Extension after the other, without the enclosing SEQUENCE."""
    encoded = []
    for rule in profile.extensions:
        value = _ENCODERS[rule.name](profile, inputs)
        if value is not None:
            critical = der.boolean(True) if rule.critical else b""  # DEFAULT FALSE is not encoded: X.690 11.5
            oid = der.object_identifier(EXTENSIONS[rule.name])
            encoded.append(der.sequence(oid, critical, der.octet_string(value)))
    return b"".join(encoded)


def _authority_key_identifier(_: ExtensionContent, inputs: ExtensionInputs) -> bytes:
    return der.sequence(der.context(0, inputs.authority_key_identifier, constructed=False))


def _subject_key_identifier(_: ExtensionContent, inputs: ExtensionInputs) -> bytes:
    return der.octet_string(inputs.key_identifier)


def _uri(uri: str) -> bytes:
    return der.context(6, uri.encode("ascii"), constructed=False)


def _authority_info_access(profile: ExtensionContent, _: ExtensionInputs) -> bytes:
    methods = ((ACCESS_METHOD_CA_ISSUERS, profile.ca_issuers), (ACCESS_METHOD_OCSP, profile.ocsp))
    return der.sequence(
        *(
            der.sequence(der.object_identifier(method), _uri(uri))
            for method, uri in methods
            if uri is not None
        )
    )


def _key_usage(profile: ExtensionContent, _: ExtensionInputs) -> bytes:
    return der.named_bits(KEY_USAGE_BITS[name] for name in profile.key_usage)


def _extended_key_usage(profile: ExtensionContent, _: ExtensionInputs) -> bytes:
    return der.sequence(
        *(der.object_identifier(EXTENDED_KEY_USAGES[name]) for name in profile.extended_key_usage)
    )


def _ocsp_no_check(_: ExtensionContent, __: ExtensionInputs) -> bytes:
    return der.null()


def _basic_constraints(profile: ExtensionContent, _: ExtensionInputs) -> bytes:
    path_length = b"" if profile.path_length is None else der.integer(profile.path_length)
    return der.sequence(der.boolean(True), path_length)


def _certificate_policies(profile: ExtensionContent, _: ExtensionInputs) -> bytes | None:
    return (
        None if profile.policy is None else der.sequence(der.sequence(der.object_identifier(profile.policy)))
    )


def _subject_alt_name(_: ExtensionContent, inputs: ExtensionInputs) -> bytes | None:
    if inputs.email is None:
        return None
    return der.sequence(der.context(1, inputs.email.encode("ascii"), constructed=False))


def _directory_attribute(attribute: DirectoryValue, uniform_number: str | None) -> bytes:
    text = attribute.value if attribute.value is not None else uniform_number or ""
    return der.sequence(der.object_identifier(attribute.type), der.set_of(_SYNTAXES[attribute.syntax](text)))


def _subject_directory_attributes(profile: ExtensionContent, inputs: ExtensionInputs) -> bytes:
    return der.sequence(
        *(
            _directory_attribute(attribute, inputs.uniform_number)
            for attribute in profile.directory_attributes
        )
    )


def _crl_distribution_points(_: ExtensionContent, inputs: ExtensionInputs) -> bytes:
    return der.sequence(
        *(der.sequence(der.context(0, der.context(0, _uri(uri)))) for uri in inputs.crl_uris)  # fullName
    )


_SYNTAXES: MappingProxyType[str, Callable[[str], bytes]] = MappingProxyType(
    {
        "object-identifier": der.object_identifier,
        "printable": der.printable_string,
        "utf8": der.utf8_string,
    }
)

_ENCODERS: MappingProxyType[str, Callable[[ExtensionContent, ExtensionInputs], bytes | None]] = (
    MappingProxyType(
        {
            "authorityKeyIdentifier": _authority_key_identifier,
            "subjectKeyIdentifier": _subject_key_identifier,
            "authorityInfoAccess": _authority_info_access,
            "keyUsage": _key_usage,
            "extKeyUsage": _extended_key_usage,
            "ocspNoCheck": _ocsp_no_check,
            "basicConstraints": _basic_constraints,
            "certificatePolicies": _certificate_policies,
            "subjectAltName": _subject_alt_name,
            "subjectDirectoryAttributes": _subject_directory_attributes,
            "cRLDistributionPoints": _crl_distribution_points,
        }
    )
)
