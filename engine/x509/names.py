"""Subject names: which fields a kind's name has (CPS 3.1.4), what may stand in them, and their DER."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from engine.errors import InputRejected
from engine.kinds import Kind
from engine.x509 import der
from engine.x509.certificate_profile import AuthorityProfile, CertificateProfile, SubjectAttribute
from engine.x509.object_identifiers import ATTRIBUTE_TYPES

UPPER_BOUNDS = MappingProxyType(
    {  # in characters: RFC 5280 appendix A.1, ub-organization-name and so on
        "C": 2,
        "L": 128,
        "O": 64,
        "OU": 64,
        "CN": 64,
        "serialNumber": 64,
    }
)
PRINTABLE_ATTRIBUTES = frozenset({"C", "serialNumber"})
"""Attributes that X.520 makes PrintableString; the others are DirectoryStrings, UTF8String here (RFC 5280 4.1.2.4)."""

_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*", re.ASCII)  # X.680 section 41.4
_UNIFORM_NUMBER = re.compile(r"[0-9]{8}", re.ASCII)
_MAILBOX = (
    re.compile(  # RFC 5321 section 4.1.2: a dot-string at a domain; quoted strings and literals are not taken
        r"(?=.{3,254}$)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
        r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])",
        re.ASCII,
    )
)
_MAILBOX_LOCAL_OCTETS = 64  # RFC 5321 section 4.5.3.1.1

_REFUSED_CATEGORIES = MappingProxyType(
    {
        "Cc": "control characters",
        "Cf": "invisible format characters",
        "Cs": "surrogates",
        "Co": "private-use characters (RFC 4518 section 2.4)",
        "Cn": f"characters unassigned in Unicode {unicodedata.unidata_version} (RFC 4518 section 2.4)",
        "Zl": "line separators",
        "Zp": "paragraph separators",
    }
)


@dataclass(frozen=True, slots=True)
class SubjectFields:
    """What is known of a subject. Fields that the name of its kind does not have are not used.

    Attributes:
        organization: the registered name; for a branch, that of its company or partnership (CPS 3.1.4).
        unit: the registered name of the branch.
        county: the county (縣市) where a business is registered.
        subscriber_number: the number the CA assigned to the subscriber (CPS 3.1.5).
        uniform_number: 統一編號, eight digits.
        registrant_kind: what a ONE_STOP or SETUP subscriber is; for other kinds None or the kind itself.
        email: the address to be written into the certificate (CPS 3.1.11).
    """

    organization: str
    unit: str | None
    county: str | None
    subscriber_number: str | None
    uniform_number: str | None
    registrant_kind: Kind | None
    email: str | None = None


_FIELD_OF: MappingProxyType[str, tuple[str, Callable[[SubjectFields], str | None]]] = MappingProxyType(
    {
        "O": ("organization", lambda fields: fields.organization),
        "OU": ("unit", lambda fields: fields.unit),
        "L": ("county", lambda fields: fields.county),
        "subscriber-number": ("subscriber_number", lambda fields: fields.subscriber_number),
        "uniform-number": ("uniform_number", lambda fields: fields.uniform_number),
    }
)


def check_subject(profile: CertificateProfile, fields: SubjectFields) -> None:
    """Check, when an item is planned, that its subject can be named in a certificate.

    Raises:
        InputRejected: a field that the name needs is absent or empty, has a character that may not stand in a name,
            or is too long (RFC 5280 appendix A.1); place is the field.
    """
    _check_registrant(profile, fields)
    for attribute in profile.subject:
        if attribute.name != "C" and _has(attribute, fields):
            name, value_of = _FIELD_OF[_source(profile, attribute.name)]
            _check_text(name, attribute.name, value_of(fields))
    if profile.has_uniform_number and not _UNIFORM_NUMBER.fullmatch(fields.uniform_number or ""):
        raise InputRejected(
            "not a uniform number", place="uniform_number", value=fields.uniform_number, rule="eight digits"
        )
    if fields.email is not None:
        check_email(fields.email)


def check_email(email: str) -> None:
    """Check that an address can stand in subjectAltName as rfc822Name (RFC 5280 section 4.2.1.6).

    Raises:
        InputRejected: not an ASCII mailbox of RFC 5321.
    """
    if not _MAILBOX.fullmatch(email) or len(email.partition("@")[0]) > _MAILBOX_LOCAL_OCTETS:
        raise InputRejected(
            "not a mailbox", place="email", value=email, rule="RFC 5321 section 4.1.2, ASCII only"
        )


def subject_der(profile: CertificateProfile, fields: SubjectFields) -> bytes:
    """Encode the subject's name; `check_subject` has passed these fields.

    Raises:
        InputRejected: a field that the name needs is absent.
    """
    names = [
        _ENCODERS[attribute.name](_value(profile, attribute.name, fields))
        for attribute in profile.subject
        if _has(attribute, fields)
    ]
    return der.sequence(*names)


def authority_subject_der(profile: AuthorityProfile) -> bytes:
    """Encode the name that an authority's profile gives it.

    Raises:
        InputRejected: a value that may not stand in a name.
    """
    for name, value in profile.subject:
        _check_text(name, name, value)
    return der.sequence(*(_ENCODERS[name](value) for name, value in profile.subject))


def _value(profile: CertificateProfile, attribute: str, fields: SubjectFields) -> str:
    if attribute == "C":
        return profile.country
    place, value_of = _FIELD_OF[_source(profile, attribute)]
    value = value_of(fields)
    if value is None:
        raise InputRejected("missing", place=place, rule=f"CPS 3.1.4: {attribute} belongs to this name")
    return value


def _has(attribute: SubjectAttribute, fields: SubjectFields) -> bool:
    return attribute.registrants is None or fields.registrant_kind in attribute.registrants


def _source(profile: CertificateProfile, attribute: str) -> str:
    return profile.serial_number_source if attribute == "serialNumber" else attribute


def _check_registrant(profile: CertificateProfile, fields: SubjectFields) -> None:
    allowed = profile.registrants or {None, profile.kind}
    if fields.registrant_kind not in allowed:
        raise InputRejected(
            "this kind of certificate is not for this kind of registrant",
            place="registrant_kind",
            value=fields.registrant_kind and fields.registrant_kind.value,
            rule=f"CPS 1.1: registrants of {profile.kind.value}",
        )


def _check_text(place: str, attribute: str, text: str | None) -> None:
    if not text or text.isspace():
        raise InputRejected(
            "empty", place=place, value=text, rule=f"CPS 3.1.4: {attribute} belongs to this name"
        )
    if len(text) > UPPER_BOUNDS[attribute]:
        raise InputRejected(
            f"{len(text)} characters long",
            place=place,
            value=text,
            rule=f"RFC 5280 appendix A.1: {attribute} has at most {UPPER_BOUNDS[attribute]} characters",
        )
    if text != text.strip():
        raise InputRejected(
            "blank at its beginning or end", place=place, value=text, rule="CPS 3.1.4: registered name"
        )
    if attribute in PRINTABLE_ATTRIBUTES:
        if not _PRINTABLE.fullmatch(text):
            raise InputRejected("not a PrintableString", place=place, value=text, rule="X.520: serialNumber")
        return
    if text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text:
        return  # none of the categories below is printable; names that are not are rare
    for character in text:
        refused = _REFUSED_CATEGORIES.get(unicodedata.category(character))
        if refused is not None or character == "\N{REPLACEMENT CHARACTER}":
            raise InputRejected(
                f"U+{ord(character):04X} may not stand in a name",
                place=place,
                value=text,
                rule=f"no {refused or 'U+FFFD, the mark of lost characters (RFC 4518 section 2.4)'}",
            )


def _encoder(attribute: str) -> Callable[[str], bytes]:
    oid = der.object_identifier(ATTRIBUTE_TYPES[attribute])
    string = der.printable_string if attribute in PRINTABLE_ATTRIBUTES else der.utf8_string
    # Cached: a country, a county and many a name come again and again.
    return lru_cache(maxsize=512)(lambda value: der.set_of(der.sequence(oid, string(value))))


_ENCODERS = MappingProxyType({attribute: _encoder(attribute) for attribute in ATTRIBUTE_TYPES})
