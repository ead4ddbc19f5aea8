"""The structural check that every tbsCertificate passes before it is signed.

What was asked for is put together a second time, from what foreign libraries make of the profile and the validity
(`expected_extensions`), the subject and the key after a walk over their DER, and compared octet by octet. Nothing of
the code that builds tbsCertificates is used, so a mistake there is found here. Where the two differ, the TBS is walked
with a reader of its own to name the first field that is not as it should be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NewType

from asn1crypto import core as asn1
from asn1crypto import x509 as asn1_x509

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid, LintFailed
from engine.x509.certificate_profile import AuthorityProfile, CertificateProfile, ExtensionContent
from engine.x509.der_reader import NotDer, expect, expect_last, read
from engine.x509.expected_extensions import ExpectedExtension, expected_extensions
from engine.x509.issuer import Issuer, check_issuable
from engine.x509.name_check import read_name
from engine.x509.object_identifiers import ATTRIBUTE_TYPES
from engine.x509.validity import Validity

CheckedTbs = NewType("CheckedTbs", bytes)
"""A tbsCertificate that passed `TbsCheck.check`; no other is ever reserved or signed."""

_VERSION_3 = bytes.fromhex("a003020102")
_VERSION_AND_SERIAL_HEADER = _VERSION_3 + b"\x02\x10"
_ALGORITHMS = MappingProxyType(
    {  # written out from RFC 4055 sections 3.1, 5 and 6, and RFC 5758 section 3.2
        SignatureAlgorithm.RSA_PKCS1_SHA256: "300d06092a864886f70d01010b0500",
        SignatureAlgorithm.RSA_PKCS1_SHA384: "300d06092a864886f70d01010c0500",
        SignatureAlgorithm.RSA_PKCS1_SHA512: "300d06092a864886f70d01010d0500",
        SignatureAlgorithm.RSA_PSS_SHA256: (
            "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
            "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
        ),
        SignatureAlgorithm.RSA_PSS_SHA384: (
            "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
            "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
        ),
        SignatureAlgorithm.RSA_PSS_SHA512: (
            "304106092a864886f70d01010a3034a00f300d06096086480165030402030500"
            "a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140"
        ),
        SignatureAlgorithm.ECDSA_P256_SHA256: "300a06082a8648ce3d040302",
        SignatureAlgorithm.ECDSA_P384_SHA384: "300a06082a8648ce3d040303",
    }
)
_KEY_IDENTIFIER_MARK = b"\xee" * 20
_UNIFORM_NUMBER_MARK = "@@@@@@@@"  # neither stands in a profile; a profile that had one fails to compile


@dataclass(frozen=True, slots=True)
class _ExpectedList:
    """The Extensions to expect: constants, and around the two variable values what comes before and after."""

    oids: list[str]
    pieces: list[bytes]
    """The explicit tag [3] with the Extensions in it, cut at the variable values, which stand as marks."""
    key_identifier: int
    """Which of the pieces is the key identifier."""
    uniform_number: int | None
    """Which of the pieces is the uniform number."""


class TbsCheck:
    """The check for one profile, issuer, validity and set of distribution points; made by `compile_check`.

    Args:
        profile: what the certificates must contain.
        issuer: who signs.
        validity: notBefore and notAfter.
        crl_uris: the distribution points, one URI each.
    """

    def __init__(
        self, profile: ExtensionContent, issuer: Issuer, validity: Validity, crl_uris: Sequence[str]
    ) -> None:
        self._profile = profile
        self._issuer = issuer
        self._crl_uris = tuple(crl_uris)
        self._names = _compositions(profile)
        self._before_subject = (
            ("signature", bytes.fromhex(_ALGORITHMS[issuer.algorithm])),
            ("issuer", issuer.name),
            ("validity", _validity(validity)),
        )
        self._between = b"".join(field for _, field in self._before_subject)
        self._expected = _expected_list(profile, issuer.key_identifier, self._crl_uris, None)

    def check(
        self,
        tbs: bytes,
        *,
        serial: bytes,
        subject: bytes,
        public_key: bytes,
        uniform_number: str | None = None,
        email: str | None = None,
    ) -> CheckedTbs:
        """Check one tbsCertificate.

        Args:
            tbs: the DER to be signed.
            serial: the 16 octets it must carry.
            subject: the Name it must carry, DER.
            public_key: the SubjectPublicKeyInfo it must carry, DER.
            uniform_number: the 統一編號 it must carry, or None for none.
            email: the rfc822Name it must carry, or None for none.

        Returns:
            `tbs`, marked as checked.

        Raises:
            LintFailed: not DER throughout, something left over, or a field or extension other than asked for.
        """
        if len(serial) != 16 or not 0 < serial[0] < 0x80:
            raise self._failed("serialNumber", "16 octets, positive (RFC 5280 section 4.1.2.2)", serial)
        try:
            expected = self._expected
            if email is not None:
                key_identifier = self._issuer.key_identifier
                expected = _expected_list(self._profile, key_identifier, self._crl_uris, email)
            if read_name(subject) not in self._names:
                raise self._failed("subject", "attributes and their order as in CPS 3.1.4", subject)
            extensions = self._fill(expected, _key_identifier(public_key), uniform_number)
            content = b"".join(
                (_VERSION_AND_SERIAL_HEADER, serial, self._between, subject, public_key, *extensions)
            )
            if tbs != _header(0x30, len(content)) + content:
                raise self._difference(tbs, serial, subject, public_key, expected, extensions)
        except NotDer as error:
            raise self._failed("tbsCertificate", f"DER: {error}", tbs) from error
        return CheckedTbs(tbs)

    def _difference(
        self,
        tbs: bytes,
        serial: bytes,
        subject: bytes,
        public_key: bytes,
        expected: _ExpectedList,
        extensions: Sequence[bytes],
    ) -> LintFailed:
        """Walk to the first field that is not the expected one."""
        fields = (
            ("version", _VERSION_3),
            ("serialNumber", b"\x02\x10" + serial),
            *self._before_subject,
            ("subject", subject),
            ("subjectPublicKeyInfo", public_key),
        )
        position, end = expect_last(tbs, 0, len(tbs), 0x30)
        for name, field in fields:
            stop = read(tbs, position, end)[2]
            if tbs[position:stop] != field:
                return self._failed(name, "as asked for", tbs[position:stop])
            position = stop
        position, end = expect_last(tbs, position, end, 0xA3)
        position, end = expect_last(tbs, position, end, 0x30)
        return self._extension_difference(tbs, position, end, expected, b"".join(extensions))

    def _extension_difference(
        self, tbs: bytes, position: int, end: int, expected: _ExpectedList, content: bytes
    ) -> LintFailed:
        """Walk to the first Extension that is not the expected one; `content` is the whole of them, with [3]."""
        here, whole = expect_last(content, 0, len(content), 0xA3)
        here, whole = expect_last(content, here, whole, 0x30)
        for oid in expected.oids:
            stop = read(tbs, position, end)[2] if position < end else end
            there = read(content, here, whole)[2]
            if tbs[position:stop] != content[here:there]:
                rule = "order, identifier, criticality and value as the profile has them"
                return self._failed(f"extension {oid}", rule, tbs[position:stop])
            position, here = stop, there
        return self._failed("extensions", "none that the profile does not have", tbs[position:end])

    def _fill(
        self, expected: _ExpectedList, key_identifier: bytes, uniform_number: str | None
    ) -> list[bytes]:
        pieces = expected.pieces.copy()
        pieces[expected.key_identifier] = key_identifier
        if expected.uniform_number is not None:
            number = (uniform_number or "").encode()
            if len(number) != len(_UNIFORM_NUMBER_MARK) or not number.isdigit():
                raise self._failed("uniform number", "eight digits", number)
            pieces[expected.uniform_number] = number
        elif uniform_number is not None:
            raise self._failed("uniform number", "none in this profile", uniform_number.encode())
        return pieces

    def _failed(self, place: str, rule: str, found: bytes) -> LintFailed:
        return LintFailed(
            "the tbsCertificate is not what its profile asks for; it was not signed",
            place=f"{self._profile.name}: {place}",
            value=found.hex(),
            rule=rule,
        )


def compile_check(
    profile: ExtensionContent, issuer: Issuer, validity: Validity, crl_uris: Sequence[str]
) -> TbsCheck:
    """Compile the check that belongs to a template with the same arguments.

    Raises:
        ConfigurationInvalid: profile, issuer, validity and distribution points cannot make a certificate together.
    """
    check_issuable(profile, issuer, validity, crl_uris)
    return TbsCheck(profile, issuer, validity, crl_uris)


@lru_cache(maxsize=256)  # encoding takes 0.4 ms; a run needs one entry for each profile and partition at work
def _expected_list(
    profile: ExtensionContent,
    authority_key_identifier: bytes,
    crl_uris: tuple[str, ...],
    email: str | None,
) -> _ExpectedList:
    extensions = expected_extensions(
        profile, authority_key_identifier, _KEY_IDENTIFIER_MARK, crl_uris, _UNIFORM_NUMBER_MARK, email
    )
    encoded = [_encode(extension) for extension in extensions]
    content = b"".join(encoded)
    listed = _header(0x30, len(content)) + content
    pieces = _cut(_header(0xA3, len(listed)) + listed, profile.has_uniform_number)
    number = pieces.index(_UNIFORM_NUMBER_MARK.encode()) if profile.has_uniform_number else None
    oids = [extension.oid for extension in extensions]
    return _ExpectedList(oids, pieces, pieces.index(_KEY_IDENTIFIER_MARK), number)


def _cut(content: bytes, has_uniform_number: bool) -> list[bytes]:
    """Cut at the marks, each of which stands there once, and keep them as pieces."""
    marks = [_KEY_IDENTIFIER_MARK] + ([_UNIFORM_NUMBER_MARK.encode()] if has_uniform_number else [])
    pieces = re.split(b"(" + b"|".join(map(re.escape, marks)) + b")", content)
    if len(pieces) != 2 * len(marks) + 1:
        raise ConfigurationInvalid("a profile holds what stands for a variable value in its check")
    return pieces


def _header(tag: int, length: int) -> bytes:
    """Tag and length in the fewest octets (X.690 section 10.1)."""
    if length < 0x80:
        return bytes((tag, length))
    octets = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | octets)) + length.to_bytes(octets)


def _encode(extension: ExpectedExtension) -> bytes:
    encoded: bytes = asn1_x509.Extension(
        {
            "extn_id": extension.oid,
            "critical": extension.critical,
            "extn_value": asn1.ParsableOctetString(extension.value),
        }
    ).dump()
    return encoded


def _validity(validity: Validity) -> bytes:
    def time(moment: object, year: int) -> asn1_x509.Time:
        return asn1_x509.Time({"utc_time" if year < 2050 else "general_time": moment})

    encoded: bytes = asn1_x509.Validity(
        {
            "not_before": time(validity.not_before, validity.not_before.year),
            "not_after": time(validity.not_after, validity.not_after.year),
        }
    ).dump()
    return encoded


def _compositions(profile: ExtensionContent) -> frozenset[tuple[bytes, ...]]:
    """The attribute types, in order, that a subject of this profile may have: one tuple per kind of registrant."""
    if isinstance(profile, AuthorityProfile):
        names = [[name for name, _ in profile.subject]]
    elif isinstance(profile, CertificateProfile):
        names = [
            [
                attribute.name
                for attribute in profile.subject
                if attribute.registrants is None or registrant in attribute.registrants
            ]
            for registrant in profile.registrants or {profile.kind}
        ]
    else:
        raise TypeError(f"{type(profile).__name__} has no subject")
    return frozenset(
        tuple(asn1.ObjectIdentifier(ATTRIBUTE_TYPES[name]).dump() for name in composition)
        for composition in names
    )


def _key_identifier(public_key: bytes) -> bytes:
    """SHA-1 of the key's bits (RFC 5280 section 4.2.1.2, method 1), found by walking."""
    start = _bits_start(len(public_key), public_key[:32])
    return hashlib.sha1(public_key[start:], usedforsecurity=False).digest()


@lru_cache(maxsize=64)  # keys of one type and size begin with the same 32 octets; a run has one or two
def _bits_start(length: int, beginning: bytes) -> int:
    """Walk a SubjectPublicKeyInfo of this length and beginning to the bits of its key, which go to its end."""
    public_key = beginning.ljust(length, b"\x00")
    position, end = expect_last(public_key, 0, length, 0x30)
    _, position = expect(public_key, position, end, 0x30)
    position, end = expect_last(public_key, position, end, 0x03)
    if public_key[position : position + 1] != b"\x00":
        raise NotDer("subjectPublicKey is not of whole octets")
    return position + 1
