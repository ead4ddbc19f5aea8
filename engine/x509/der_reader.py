"""Reading DER element by element, refusing everything that is not DER.

Shares nothing with the writer (`der`): what one of them gets wrong, the other one must not excuse.
"""

from __future__ import annotations


class NotDer(ValueError):
    """The octets are not DER; each room that reads translates this into the error of whoever sent them."""


def read(octets: bytes, position: int, end: int) -> tuple[int, int, int]:
    """Read the identifier and length octets of the element at `position`.

    Args:
        octets: the encoding.
        position: where the element begins.
        end: where the enclosing element ends.

    Returns:
        the identifier octet, where the content begins, and where it ends.

    Raises:
        NotDer: high tag number, indefinite or non-minimal length (X.690 10.1), or the element does not fit.
    """
    start = position + 2
    if start > end:
        raise NotDer(f"octet {position}: the enclosing element ends inside an element")
    tag = octets[position]
    if tag & 0x1F == 0x1F:
        raise NotDer(f"octet {position}: high tag number form")
    length = octets[position + 1]
    if length >= 0x80:
        count = length - 0x80
        start += count
        if not 1 <= count <= 4 or start > end:
            raise NotDer(f"octet {position}: indefinite or oversized length")
        length = int.from_bytes(octets[position + 2 : start], "big")
        if length < 0x80 or length >> (8 * (count - 1)) == 0:
            raise NotDer(f"octet {position}: length not in its shortest form")
    if start + length > end:
        raise NotDer(f"octet {position}: element longer than what encloses it")
    return tag, start, start + length


def expect(octets: bytes, position: int, end: int, tag: int) -> tuple[int, int]:
    """Read an element that must have the given identifier octet; return where its content begins and ends.

    Raises:
        NotDer: as `read`, or another identifier octet.
    """
    found, start, stop = read(octets, position, end)
    if found != tag:
        raise NotDer(f"octet {position}: identifier octet {found:#04x} where {tag:#04x} belongs")
    return start, stop


def expect_last(octets: bytes, position: int, end: int, tag: int) -> tuple[int, int]:
    """As `expect`, for the last element of an enclosing one: nothing may follow it.

    Raises:
        NotDer: as `expect`, or octets left over.
    """
    start, stop = expect(octets, position, end, tag)
    if stop != end:
        raise NotDer(f"octet {stop}: {end - stop} octets left over")
    return start, stop


def positive_integer(octets: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a positive INTEGER in its shortest form; return its value and where it ends.

    Raises:
        NotDer: not an INTEGER, empty, zero, negative, or with needless leading octets (X.690 8.3.2).
    """
    start, stop = expect(octets, position, end, 0x02)
    content = octets[start:stop]
    if not content or content[0] >= 0x80 or content == b"\x00":
        raise NotDer(f"octet {position}: not a positive INTEGER")
    if content[0] == 0 and content[1] < 0x80:
        raise NotDer(f"octet {position}: INTEGER not in its shortest form")
    return int.from_bytes(content, "big"), stop
