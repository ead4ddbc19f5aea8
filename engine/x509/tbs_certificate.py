"""tbsCertificates: compiled once for a profile, issuer and validity, then spliced for every item.

Nearly all octets of a certificate are the same within a work unit. They are encoded once; building one then is a
handful of constants and six variable fields joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import InputRejected
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.certificate_profile import ExtensionContent
from engine.x509.extensions import ExtensionInputs, encode_extensions
from engine.x509.issuer import Issuer, check_issuable, key_identifier
from engine.x509.serial_numbers import SERIAL_OCTETS
from engine.x509.validity import Validity

__all__ = ["Issuer", "TbsTemplate", "Validity", "compile_template"]

_VERSION_3 = der.context(0, der.integer(2))  # RFC 5280 section 4.1.2.1, CPS 7.1.1

_KEY_IDENTIFIER_MARK = b"\xff" * 20  # no identifier or text in a profile encodes to this
_UNIFORM_NUMBER_MARK = "\x00" * 8  # NUL stands in no value of a profile
_HEADER, _SERIAL, _SUBJECT, _PUBLIC_KEY = (
    0,
    2,
    4,
    5,
)  # where in the list of pieces; the other two vary by profile


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A tbsCertificate in pieces: constants, and empty or marked places for the variable fields between them."""

    parts: list[bytes]
    constant_length: int
    key_identifier: int
    uniform_number: int | None


class TbsTemplate:
    """A compiled profile; made by `compile_template`.

    Args:
        profile: the profile.
        inputs: of its extensions, with marks where the variable values belong.
        before_subject: signature, issuer and validity, encoded.
    """

    def __init__(self, profile: ExtensionContent, inputs: ExtensionInputs, before_subject: bytes) -> None:
        self._profile = profile
        self._inputs = inputs
        self._before_subject = before_subject
        self._pieces = self._cut(email=None)

    def build(
        self,
        serial: bytes,
        subject: bytes,
        public_key: bytes,
        uniform_number: str | None = None,
        email: str | None = None,
    ) -> bytes:
        """Build one tbsCertificate.

        Args:
            serial: 16 octets, the first from 0x01 to 0x7F.
            subject: the Name, DER.
            public_key: the SubjectPublicKeyInfo, DER; its key identifier is computed here.
            uniform_number: 統一編號 where the profile has it, else None.
            email: the rfc822Name, or None; with one, the extensions are encoded anew (slower).

        Returns:
            the DER of TBSCertificate.

        Raises:
            InputRejected: a serial or uniform number of another length, a uniform number missing or not asked for.
        """
        pieces = self._pieces if email is None else self._cut(email)
        if len(serial) != SERIAL_OCTETS:
            raise InputRejected("wrong length", place="serial number", value=serial.hex(), rule="16 octets")
        parts = pieces.parts.copy()
        parts[_HEADER] = der.header(der.SEQUENCE, pieces.constant_length + len(subject) + len(public_key))
        parts[_SERIAL] = serial
        parts[_SUBJECT] = subject
        parts[_PUBLIC_KEY] = public_key
        parts[pieces.key_identifier] = key_identifier(public_key)
        if pieces.uniform_number is not None:
            parts[pieces.uniform_number] = (uniform_number or "").encode()
            if len(parts[pieces.uniform_number]) != len(_UNIFORM_NUMBER_MARK):
                raise self._uniform_number_rejected(uniform_number, "has one, of eight digits")
        elif uniform_number is not None:
            raise self._uniform_number_rejected(uniform_number, "has none")
        return b"".join(parts)

    def _uniform_number_rejected(self, value: str | None, rule: str) -> InputRejected:
        return InputRejected(
            "does not fit", place="uniform_number", value=value, rule=f"{self._profile.name} {rule}"
        )

    def _cut(self, email: str | None) -> _Pieces:
        """Encode once with marks, cut at the marks."""
        marks = [_KEY_IDENTIFIER_MARK]
        if self._profile.has_uniform_number:
            marks.append(_UNIFORM_NUMBER_MARK.encode())
        extensions = encode_extensions(self._profile, replace(self._inputs, email=email))
        rest = der.context(3, der.sequence(extensions))
        before_serial = _VERSION_3 + der.header(der.INTEGER, SERIAL_OCTETS)
        parts = [b"", before_serial, b"", self._before_subject, b"", b""]
        constant_length = len(before_serial) + SERIAL_OCTETS + len(self._before_subject) + len(rest)
        for mark in sorted(marks, key=rest.index):
            before, rest = rest.split(mark)
            parts += before, mark
        parts.append(rest)
        number = parts.index(marks[1]) if len(marks) > 1 else None
        return _Pieces(parts, constant_length, parts.index(_KEY_IDENTIFIER_MARK), number)


def compile_template(
    profile: ExtensionContent, issuer: Issuer, validity: Validity, crl_uris: Sequence[str]
) -> TbsTemplate:
    """Compile a profile for one issuer, validity and CRL partition; cheap enough to do for every work unit.

    Args:
        profile: of a subscriber's or an authority's certificate.
        issuer: who signs.
        validity: notBefore and notAfter.
        crl_uris: the distribution points, one URI each.

    Raises:
        ConfigurationInvalid: the validity runs past the issuer's, or the profile asks for distribution points and
            none are given, or the reverse.
    """
    check_issuable(profile, issuer, validity, crl_uris)
    inputs = ExtensionInputs(
        authority_key_identifier=issuer.key_identifier,
        key_identifier=_KEY_IDENTIFIER_MARK,
        crl_uris=crl_uris,
        uniform_number=_UNIFORM_NUMBER_MARK,
        email=None,
    )
    before_subject = b"".join(
        (
            ALGORITHM_IDENTIFIERS[issuer.algorithm],
            issuer.name,
            der.sequence(der.time(validity.not_before), der.time(validity.not_after)),
        )
    )
    return TbsTemplate(profile, inputs, before_subject)
