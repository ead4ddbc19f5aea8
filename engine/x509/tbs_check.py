"""The structural check that every tbsCertificate passes before it is signed.

It walks the DER with its own reader and compares each field with what was asked for, and each extension with what
foreign libraries make of the profile (`expected_extensions`). Nothing of the code that builds tbsCertificates is
used, so a mistake there is found here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NewType

from asn1crypto import core as asn1
from asn1crypto import x509 as asn1_x509

from engine.algorithms import SignatureAlgorithm
from engine.errors import LintFailed
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

    encoded: list[bytes]
    oids: list[str]
    key_identifier: tuple[int, bytes, bytes]
    uniform_number: tuple[int, bytes, bytes] | None


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
            extensions = self._fill(expected, _key_identifier(public_key), uniform_number)
            if read_name(subject) not in self._names:
                raise self._failed("subject", "attributes and their order as in CPS 3.1.4", subject)
            fields = (
                ("version", _VERSION_3),
                ("serialNumber", b"\x02\x10" + serial),
                *self._before_subject,
                ("subject", subject),
                ("subjectPublicKeyInfo", public_key),
            )
            self._walk(tbs, fields, extensions, expected.oids)
        except NotDer as error:
            raise self._failed("tbsCertificate", f"DER: {error}", tbs) from error
        return CheckedTbs(tbs)

    def _walk(
        self,
        tbs: bytes,
        fields: Sequence[tuple[str, bytes]],
        extensions: Sequence[bytes],
        oids: Sequence[str],
    ) -> None:
        position, end = expect_last(tbs, 0, len(tbs), 0x30)
        for name, expected in fields:
            stop = read(tbs, position, end)[2]
            if tbs[position:stop] != expected:
                raise self._failed(name, "as asked for", tbs[position:stop])
            position = stop
        position, end = expect_last(tbs, position, end, 0xA3)
        position, end = expect_last(tbs, position, end, 0x30)
        if tbs[position:end] != b"".join(extensions):
            raise self._difference(tbs, position, end, extensions, oids)

    def _difference(
        self, tbs: bytes, position: int, end: int, extensions: Sequence[bytes], oids: Sequence[str]
    ) -> LintFailed:
        """Walk to the first Extension that is not the expected one."""
        for expected, oid in zip(extensions, oids, strict=True):
            stop = read(tbs, position, end)[2] if position < end else end
            if tbs[position:stop] != expected:
                rule = "order, identifier, criticality and value as the profile has them"
                return self._failed(f"extension {oid}", rule, tbs[position:stop])
            position = stop
        return self._failed("extensions", "none that the profile does not have", tbs[position:end])

    def _fill(
        self, expected: _ExpectedList, key_identifier: bytes, uniform_number: str | None
    ) -> list[bytes]:
        extensions = expected.encoded.copy()
        index, before, after = expected.key_identifier
        extensions[index] = before + key_identifier + after
        if expected.uniform_number is not None:
            index, before, after = expected.uniform_number
            number = (uniform_number or "").encode()
            if len(number) != len(_UNIFORM_NUMBER_MARK) or not number.isdigit():
                raise self._failed("uniform number", "eight digits", number)
            extensions[index] = before + number + after
        elif uniform_number is not None:
            raise self._failed("uniform number", "none in this profile", uniform_number.encode())
        return extensions

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
    number = _around(encoded, _UNIFORM_NUMBER_MARK.encode()) if profile.has_uniform_number else None
    oids = [extension.oid for extension in extensions]
    return _ExpectedList(encoded, oids, _around(encoded, _KEY_IDENTIFIER_MARK), number)


def _encode(extension: ExpectedExtension) -> bytes:
    encoded: bytes = asn1_x509.Extension(
        {
            "extn_id": extension.oid,
            "critical": extension.critical,
            "extn_value": asn1.ParsableOctetString(extension.value),
        }
    ).dump()
    return encoded


def _around(encoded: Sequence[bytes], mark: bytes) -> tuple[int, bytes, bytes]:
    """Find the one Extension with the mark, and what comes before and after the mark in it."""
    (index,) = (index for index, extension in enumerate(encoded) if mark in extension)
    before, after = encoded[index].split(mark)
    return index, before, after


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
    position, end = expect_last(public_key, 0, len(public_key), 0x30)
    _, position = expect(public_key, position, end, 0x30)
    position, end = expect_last(public_key, position, end, 0x03)
    if public_key[position : position + 1] != b"\x00":
        raise NotDer("subjectPublicKey is not of whole octets")
    return hashlib.sha1(public_key[position + 1 : end], usedforsecurity=False).digest()
