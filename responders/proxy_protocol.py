"""The PROXY protocol, versions 1 and 2: the header with which a proxy says whose connection it passes on.

Read as HAProxy's specification "The PROXY protocol, versions 1 & 2" has it (revision 2020/03/05), section 2. Strict:
whoever sends something that is not quite one is not listened to, for a client's word must never be taken for a proxy's.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from engine.usage.address_ranges import Address, plain

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
"""What version 2 begins with (section 2.2)."""

MOST_LINE_OCTETS = 107
"""Of version 1, its line end included (section 2.1)."""

MOST_OCTETS = 2_048
"""Of version 2, with what follows the addresses (TLVs, which are not looked at). A guess: four times the 536 octets
that section 2 wants a header to fit."""

_FIXED_OCTETS = 16
_LOCAL, _PROXY = 0x20, 0x21

_ADDRESS_OCTETS = {
    0x00: 0,  # UNSPEC
    0x11: 12,  # TCP over IPv4
    0x12: 12,  # UDP over IPv4
    0x21: 36,  # TCP over IPv6
    0x22: 36,  # UDP over IPv6
    0x31: 216,  # UNIX stream
    0x32: 216,  # UNIX datagram
}
"""By family and transport (section 2.2); what is not here must be refused."""

_PORT = rb"(?:0|[1-9]\d{0,4})"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (%b) (%b)" % (_PORT, _PORT))
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?")


class NotProxyHeader(ValueError):
    """What a connection begins with is no PROXY protocol header, or a forbidden one."""


class ProxyHeader(NamedTuple):
    """A header."""

    octets: int
    """How long it is; after it comes what the client sent."""
    source: Address | None
    """The client; None where the proxy speaks for itself (LOCAL) or does not say (UNKNOWN, UNSPEC): then the
    connection's own address counts."""


def read_header(octets: bytes) -> ProxyHeader | None:
    """Read the header that a connection begins with.

    Args:
        octets: what has come so far, and what comes after the header if it has come.

    Returns:
        The header; None while it has not come in full.

    Raises:
        NotProxyHeader: it will never be one.
    """
    if octets.startswith(SIGNATURE):
        return _version_2(octets)
    if SIGNATURE.startswith(octets):
        return None
    if octets.startswith(b"PROXY ") or b"PROXY ".startswith(octets):
        return _version_1(octets)
    raise NotProxyHeader("neither version begins so")


def _version_1(octets: bytes) -> ProxyHeader | None:
    end = octets.find(b"\r\n", 0, MOST_LINE_OCTETS)
    if end < 0:
        if len(octets) >= MOST_LINE_OCTETS:
            raise NotProxyHeader("the line has no end")
        return None
    line = octets[:end]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(end + 2, None)
    found = _LINE.fullmatch(line)
    if found is None or int(found[4]) > 0xFFFF or int(found[5]) > 0xFFFF:
        raise NotProxyHeader("the line is malformed")
    form = IPv4Address if found[1] == b"4" else IPv6Address
    try:
        source, _ = (form(found[place].decode("ascii")) for place in (2, 3))
    except AddressValueError as error:
        raise NotProxyHeader("an address is malformed") from error
    return ProxyHeader(end + 2, plain(source))


def _version_2(octets: bytes) -> ProxyHeader | None:
    if len(octets) < _FIXED_OCTETS:
        return None
    command, family = octets[12], octets[13]
    length = _FIXED_OCTETS + int.from_bytes(octets[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise NotProxyHeader("another version or command")
    if length > MOST_OCTETS:
        raise NotProxyHeader("longer than is taken")
    needed = _ADDRESS_OCTETS.get(family)
    if needed is None or (command == _PROXY and length < _FIXED_OCTETS + needed):
        raise NotProxyHeader("another family, or no room for its addresses")
    if len(octets) < length:
        return None
    return ProxyHeader(length, _source(octets, family) if command == _PROXY else None)


def _source(octets: bytes, family: int) -> Address | None:
    """The client of a stream; datagrams and UNIX sockets are none of ours, and count as not said."""
    if family == 0x11:
        return IPv4Address(octets[16:20])
    if family == 0x21:
        return plain(IPv6Address(octets[16:32]))
    return None
