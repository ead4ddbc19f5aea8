"""Reading a certificate list from its file (RFC 5280 section 5) without its entries, which may be a million.

What stands before them and what stands after them is read; what was signed is hashed chunk by chunk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from engine.x509 import der, der_reader
from engine.x509.der_reader import NotDer
from engine.x509.revocation_list import read_update_times
from engine.x509.revocation_list_extensions import CRL_EXTENSIONS

_BEGINNING = 65_536
"""Octets in which everything before the entries lies. A guess: a hundred times what it takes."""

_END = 65_536
"""Octets in which everything after the entries lies. A guess: the same."""

_CHUNK = 1 << 20
"""Octets hashed at a time: 1 MiB. A guess."""

_NAMES = {der.object_identifier(dotted): name for name, dotted in CRL_EXTENSIONS.items()}


@dataclass(frozen=True, slots=True)
class ReadList:
    """What a certificate list says beside its entries.

    Attributes:
        algorithm: the AlgorithmIdentifier, DER; the same inside and outside of what is signed (section 5.1.1.2).
        issuer: its Name, DER.
        this_update: seconds since the epoch.
        next_update: seconds since the epoch.
        number: cRLNumber.
        base_number: BaseCRLNumber of a delta CRL; None where it is none.
        distribution_point: the URI of issuingDistributionPoint; None where there is none.
        key_identifier: of authorityKeyIdentifier; None where there is none.
        signature: the signature value.
        signed: where the tbsCertList begins and ends in the file.
    """

    algorithm: bytes
    issuer: bytes
    this_update: int
    next_update: int
    number: int
    base_number: int | None
    distribution_point: str | None
    key_identifier: bytes | None
    signature: bytes
    signed: tuple[int, int]


def read_list(file: BinaryIO, octets: int) -> ReadList:
    """Read a CertificateList.

    Args:
        file: open for reading, at its beginning.
        octets: how long it is.

    Raises:
        NotDer: this is none, or one without cRLNumber (which section 5.2.3 asks for).
    """
    beginning = file.read(_BEGINNING)
    try:
        this_update, next_update = read_update_times(beginning, octets)
        tbs, _ = der_reader.expect_last(beginning, 0, octets, der.SEQUENCE)
        position, tbs_end = der_reader.expect(beginning, tbs, octets, der.SEQUENCE)
        position = der_reader.expect(beginning, position, tbs_end, der.INTEGER)[1]
        algorithm, position = _whole(beginning, position, tbs_end)
        issuer, position = _whole(beginning, position, tbs_end)
        for _ in range(2):  # thisUpdate, nextUpdate
            position = der_reader.read(beginning, position, tbs_end)[2]
        if position < tbs_end and beginning[position] == der.SEQUENCE:  # revokedCertificates
            position = der_reader.expect(beginning, position, tbs_end, der.SEQUENCE)[1]
    except IndexError as error:
        raise NotDer("what stands before the entries is too long") from error
    file.seek(position)
    end = file.read(_END)
    if len(end) != octets - position:
        raise NotDer("what stands after the entries is too long")
    extensions = _extensions(end, tbs_end - position)
    outer, position = _whole(end, tbs_end - position, len(end))
    if outer != algorithm:
        raise NotDer("signature and signatureAlgorithm differ (RFC 5280 section 5.1.1.2)")
    start, stop = der_reader.expect_last(end, position, len(end), der.BIT_STRING)
    if end[start : start + 1] != b"\x00":
        raise NotDer("the signature value is not of whole octets")
    base = extensions.get("deltaCRLIndicator")
    return ReadList(
        algorithm,
        issuer,
        this_update,
        next_update,
        _number(extensions.get("cRLNumber", b"")),
        None if base is None else _number(base),
        _distribution_point(extensions.get("issuingDistributionPoint")),
        _key_identifier(extensions.get("authorityKeyIdentifier")),
        end[start + 1 : stop],
        (tbs, tbs_end),
    )


def digest_of_signed(file: BinaryIO, signed: tuple[int, int], hash_name: str) -> bytes:
    """Hash the tbsCertList of a file chunk by chunk.

    Args:
        file: open for reading.
        signed: `ReadList.signed`.
        hash_name: as hashlib spells it.
    """
    position, end = signed
    file.seek(position)
    hashed = hashlib.new(hash_name)
    while position < end and (chunk := file.read(min(_CHUNK, end - position))):
        hashed.update(chunk)
        position += len(chunk)
    return hashed.digest()


def _whole(octets: bytes, position: int, end: int) -> tuple[bytes, int]:
    """A SEQUENCE with its header, and where it ends."""
    stop = der_reader.expect(octets, position, end, der.SEQUENCE)[1]
    return octets[position:stop], stop


def _extensions(octets: bytes, end: int) -> dict[str, bytes]:
    """The values of the known extensions by name; critical ones that are not known are refused (section 5.2)."""
    if not end:
        return {}
    start, stop = der_reader.expect_last(octets, 0, end, 0xA0)
    position, stop = der_reader.expect_last(octets, start, stop, der.SEQUENCE)
    found: dict[str, bytes] = {}
    while position < stop:
        start, position = der_reader.expect(octets, position, stop, der.SEQUENCE)
        after = der_reader.expect(octets, start, position, der.OBJECT_IDENTIFIER)[1]
        name = _NAMES.get(octets[start:after])
        tag, _, value_at = der_reader.read(octets, after, position)
        is_critical = tag == der.BOOLEAN
        if name is None and is_critical:
            raise NotDer(f"a critical extension that is not known: {octets[start:after].hex()}")
        start, value_end = der_reader.expect_last(
            octets, value_at if is_critical else after, position, der.OCTET_STRING
        )
        if name in found:
            raise NotDer(f"two extensions {name}")
        if name is not None:
            found[name] = octets[start:value_end]
    return found


def _number(octets: bytes) -> int:
    start, stop = der_reader.expect_last(octets, 0, len(octets), der.INTEGER)
    content = octets[start:stop]
    if not content or content[0] >= 0x80:
        raise NotDer("a CRL number is not negative, and no CRL is without one (RFC 5280 section 5.2.3)")
    return int.from_bytes(content, "big")


def _distribution_point(octets: bytes | None) -> str | None:
    """The one URI of fullName, as our lists have it; a point that says anything else is not read (section 5.2.5)."""
    if octets is None:
        return None
    start, stop = der_reader.expect_last(octets, 0, len(octets), der.SEQUENCE)
    for tag in (0xA0, 0xA0):  # distributionPoint, fullName
        start, stop = der_reader.expect_last(octets, start, stop, tag)
    start, stop = der_reader.expect_last(octets, start, stop, 0x86)
    return octets[start:stop].decode("ascii", errors="replace")


def _key_identifier(octets: bytes | None) -> bytes | None:
    if octets is None:
        return None
    start, stop = der_reader.expect_last(octets, 0, len(octets), der.SEQUENCE)
    if start == stop or octets[start] != 0x80:
        return None
    start, stop = der_reader.expect(octets, start, stop, 0x80)
    return octets[start:stop]
