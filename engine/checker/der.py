"""As much of DER (X.690) as the checker needs: to take elements apart and put them together."""

from __future__ import annotations

from typing import NamedTuple

BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, ENUMERATED = 0x03, 0x04, 0x06, 0x0A
GENERALIZED_TIME, SEQUENCE = 0x18, 0x30


class Element(NamedTuple):
    """An element: its tag, its content, and all of it."""

    tag: int
    content: bytes
    whole: bytes


def elements(octets: bytes) -> list[Element]:
    """Take a row of elements apart, as the content of a SEQUENCE is.

    Raises:
        ValueError: the octets are no row of whole elements.
    """
    found, place = [], 0
    while place < len(octets):
        start = place
        if len(octets) - place < 2:
            raise ValueError("an element is cut off")
        tag, length = octets[place], octets[place + 1]
        place += 2
        if length >= 0x80:
            more = length & 0x7F
            length = int.from_bytes(octets[place : place + more])
            place += more
        if place + length > len(octets):
            raise ValueError("an element is cut off")
        found.append(Element(tag, octets[place : place + length], octets[start : place + length]))
        place += length
    return found


def sequence_of(octets: bytes) -> list[Element]:
    """Take one SEQUENCE apart, with nothing behind it.

    Raises:
        ValueError: the octets are something else.
    """
    found = elements(octets)
    if len(found) != 1 or found[0].tag != SEQUENCE:
        raise ValueError("not one SEQUENCE")
    return elements(found[0].content)


def element(tag: int, *contents: bytes) -> bytes:
    """Put an element together."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def signed(content: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """Put together what is signed as a certificate is: content, AlgorithmIdentifier, signature."""
    return element(SEQUENCE, content, algorithm, element(BIT_STRING, b"\0", signature))
