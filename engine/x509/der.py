"""Writing DER (X.690 section 10): definite minimal lengths, each value in one way only.

Only what certificates need. The structural check (`tbs_check`) uses none of this, so that a mistake here cannot
hide itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL = 0x01, 0x02, 0x03, 0x04, 0x05
OBJECT_IDENTIFIER, UTF8_STRING, PRINTABLE_STRING, IA5_STRING = 0x06, 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31


def header(tag: int, length: int) -> bytes:
    """Identifier octet and minimal definite length of an element with `length` content octets (X.690 8.1, 10.1)."""
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def element(tag: int, *contents: bytes) -> bytes:
    """An element with the given identifier octet around the joined contents."""
    content = b"".join(contents)
    return header(tag, len(content)) + content


def sequence(*elements: bytes) -> bytes:
    """SEQUENCE or SEQUENCE OF the given encodings, in the order given."""
    return element(SEQUENCE, *elements)


def set_of(*elements: bytes) -> bytes:
    """SET OF the given encodings, in the ascending order DER asks for (X.690 11.6)."""
    return element(SET, *sorted(elements))


def boolean(value: bool) -> bytes:
    """BOOLEAN; TRUE is 0xFF (X.690 11.1)."""
    return element(BOOLEAN, b"\xff" if value else b"\x00")


def integer(value: int) -> bytes:
    """INTEGER in the fewest octets of two's complement (X.690 8.3.2)."""
    magnitude = value if value >= 0 else ~value
    return element(INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def null() -> bytes:
    """NULL (X.690 8.8)."""
    return element(NULL)


def octet_string(octets: bytes) -> bytes:
    """OCTET STRING, primitive (X.690 10.2)."""
    return element(OCTET_STRING, octets)


def bit_string(octets: bytes) -> bytes:
    """BIT STRING of whole octets, primitive (X.690 8.6, 10.2)."""
    return element(BIT_STRING, b"\x00", octets)


def named_bits(positions: Iterable[int]) -> bytes:
    """BIT STRING with named bits set at the given positions, trailing zero bits dropped (X.690 11.2.2)."""
    bits = set(positions)
    count = max(bits) + 1
    unused = -count % 8
    value = sum(1 << (count - 1 - bit) for bit in bits) << unused
    return element(BIT_STRING, bytes((unused,)), value.to_bytes((count + 7) // 8, "big"))


def object_identifier(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form; components of any size (X.690 8.19, X.667 for 2.25)."""
    first, second, *rest = (int(component) for component in dotted.split("."))
    return element(OBJECT_IDENTIFIER, *(_base128(component) for component in (40 * first + second, *rest)))


def _base128(value: int) -> bytes:
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.append(0x80 | value & 0x7F)
    return bytes(reversed(octets))


def utf8_string(text: str) -> bytes:
    """UTF8String."""
    return element(UTF8_STRING, text.encode("utf-8"))


def printable_string(text: str) -> bytes:
    """PrintableString; the caller has checked the characters (X.680 41.4)."""
    return element(PRINTABLE_STRING, text.encode("ascii"))


def ia5_string(text: str) -> bytes:
    """IA5String."""
    return element(IA5_STRING, text.encode("ascii"))


def context(number: int, *contents: bytes, constructed: bool = True) -> bytes:
    """An element with the context-specific tag [number], number < 31."""
    return element((0xA0 if constructed else 0x80) | number, *contents)


def time(moment: datetime) -> bytes:
    """Time: UTCTime through 2049, GeneralizedTime from 2050, whole seconds, Z (RFC 5280 section 4.1.2.5)."""
    utc = moment.astimezone(UTC)
    if utc.year < 2050:
        return element(UTC_TIME, utc.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return element(GENERALIZED_TIME, utc.strftime("%Y%m%d%H%M%SZ").encode("ascii"))
