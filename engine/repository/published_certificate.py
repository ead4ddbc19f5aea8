"""A certificate as the repository publishes it: what is searched and shown, read from the certificate itself."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from engine.errors import InputRejected
from engine.kinds import Rank
from engine.x509 import der
from engine.x509.der_reader import NotDer, expect, expect_last, read
from engine.x509.object_identifiers import EXTENSIONS
from engine.x509.profiles import ProfileSet, load_profiles
from engine.x509.serial_numbers import SERIAL_OCTETS

_DIRECTORY_ATTRIBUTES = x509.ObjectIdentifier(EXTENSIONS["subjectDirectoryAttributes"])
_SEQUENCE, _SET, _OBJECT_IDENTIFIER = 0x30, 0x31, 0x06


class PublishedCertificate(NamedTuple):
    """An accepted certificate (CPS 2.6.1, 4.3.1). Times are seconds since the epoch."""

    item_id: int
    """The number under which the CA planned it: the order of publication."""
    serial: bytes
    """Content octets of serialNumber, 16."""
    subject_kind: str
    """A value of `engine.kinds.Kind`, told by the subjectType."""
    name: str
    """organizationName."""
    unit_name: str | None
    """organizationalUnitName: a branch's own name."""
    county: str | None
    """localityName: the county of a business."""
    number: str | None
    """統一編號; a set-up certificate has none."""
    usage: str
    """A value of `engine.kinds.Usage`, told by keyUsage."""
    rank: str | None
    """A value of `engine.kinds.Rank`; None where the certificate has none."""
    not_before: int
    not_after: int
    accepted_at: int
    certificate: bytes
    """DER."""


class _Forms:
    """How the certificates of a profile file say kind, usage, rank and 統一編號."""

    def __init__(self, profiles: ProfileSet) -> None:
        self.kinds: dict[bytes, str] = {}
        self.usages: dict[frozenset[str], str] = {}
        self.rank_type = self.number_type = b""
        ranks = {rank.value for rank in Rank}
        for profile in profiles.certificates():
            self.usages[frozenset(profile.key_usage)] = profile.usage.value
            for attribute in profile.directory_attributes:
                attribute_type = der.object_identifier(attribute.type)
                if attribute.value is None:
                    self.number_type = attribute_type
                elif attribute.syntax == "object-identifier":
                    self.kinds[attribute_type + der.object_identifier(attribute.value)] = profile.kind.value
                elif attribute.value in ranks:
                    self.rank_type = attribute_type


@lru_cache(maxsize=4)  # a process has one profile file; a test may have another
def _forms(profiles: ProfileSet | None) -> _Forms:
    return _Forms(profiles or load_profiles())


def published_certificate(
    item_id: int, accepted_at: int, octets: bytes, profiles: ProfileSet | None = None
) -> PublishedCertificate:
    """Read what the repository shows of a certificate out of it (CPS 3.1.1-3.1.4; profile: directory attributes).

    Args:
        item_id: the CA's number of it.
        accepted_at: when the subscriber accepted it, seconds since the epoch.
        octets: DER. Who signed it is not looked at.
        profiles: the profiles it was issued by; None for the shipped ones.

    Raises:
        InputRejected: it is no certificate, or none of these profiles.
    """
    place = f"certificate of item {item_id}"
    forms = _forms(profiles)
    try:
        certificate = x509.load_der_x509_certificate(octets)
        attributes = dict(_directory_attributes(certificate))
        key_usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        serial = certificate.serial_number.to_bytes(SERIAL_OCTETS, "big")
        number = _text(attributes, forms.number_type)
        rank = _text(attributes, forms.rank_type)
    except (ValueError, OverflowError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise InputRejected(
            "this is no subscriber certificate", place=place, value=octets[:16].hex(), rule=str(error)
        ) from error
    kinds = [forms.kinds[pair] for pair in (a + b for a, b in attributes.items()) if pair in forms.kinds]
    usage = forms.usages.get(_names(key_usage))
    subject = certificate.subject
    name = _attribute(subject, NameOID.ORGANIZATION_NAME)
    if not kinds or usage is None or name is None:
        raise InputRejected(
            "the certificate is of no kind that this CA issues",
            place=place,
            value=f"{serial.hex().upper()}, {subject.rfc4514_string()}",
            rule="CPS 1.1 and 3.1.4: subjectType, keyUsage and O of a profile",
        )
    return PublishedCertificate(
        item_id=item_id,
        serial=serial,
        subject_kind=kinds[0],
        name=name,
        unit_name=_attribute(subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
        county=_attribute(subject, NameOID.LOCALITY_NAME),
        number=number,
        usage=usage,
        rank=rank,
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        accepted_at=accepted_at,
        certificate=octets,
    )


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else None


def _names(usage: x509.KeyUsage) -> frozenset[str]:
    """The bits as profile files name them; those that profiles do not know cannot match and need no name."""
    bits = {
        "digitalSignature": usage.digital_signature,
        "nonRepudiation": usage.content_commitment,
        "keyEncipherment": usage.key_encipherment,
        "dataEncipherment": usage.data_encipherment,
        "keyAgreement": usage.key_agreement,
        "keyCertSign": usage.key_cert_sign,
        "cRLSign": usage.crl_sign,
    }
    return frozenset(name for name, is_set in bits.items() if is_set)


def _directory_attributes(certificate: x509.Certificate) -> list[tuple[bytes, bytes]]:
    """The attributes of subjectDirectoryAttributes (RFC 5280 section 4.2.1.8): type and single value, both whole."""
    extension = certificate.extensions.get_extension_for_oid(_DIRECTORY_ATTRIBUTES).value
    octets = extension.public_bytes()
    position, end = expect_last(octets, 0, len(octets), _SEQUENCE)
    attributes = []
    while position < end:
        start, stop = expect(octets, position, end, _SEQUENCE)
        _, type_end = expect(octets, start, stop, _OBJECT_IDENTIFIER)
        value_start, value_end = expect_last(octets, type_end, stop, _SET)
        attributes.append((octets[start:type_end], octets[value_start:value_end]))
        position = stop
    return attributes


def _text(attributes: dict[bytes, bytes], attribute_type: bytes) -> str | None:
    value = attributes.get(attribute_type)
    if value is None:
        return None
    _, start, stop = read(value, 0, len(value))
    if stop != len(value):
        raise NotDer("more than one value of a directory attribute")
    return value[start:stop].decode("utf-8")
