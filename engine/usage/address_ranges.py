"""Networks of relying parties: how they are written, and that no address belongs to two."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from engine.errors import InputRejected

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as a socket for both kinds shows them (RFC 4291 section 2.5.5.2)."""


def parse_network(text: str, place: str) -> Network:
    """Read a network such as `203.0.113.0/24`; an address alone is a network of one.

    Args:
        text: as written.
        place: where it is written, for the error.

    Raises:
        InputRejected: it is none, has bits set beyond its prefix, or is IPv4 in the clothes of IPv6.
    """
    try:
        network = ip_network(text)
    except ValueError as error:
        raise InputRejected("this is no network", place=place, value=text, rule=str(error)) from error
    if isinstance(network, IPv6Network) and network.subnet_of(IPV4_MAPPED):
        rule = "an IPv4 network is written as one: clients of both kinds of socket are compared as IPv4"
        raise InputRejected("this is an IPv4 network written as IPv6", place=place, value=text, rule=rule)
    return network


def parse_address(text: str) -> Address:
    """Read an address as a socket gives it; IPv4 in the clothes of IPv6 becomes IPv4.

    Raises:
        ValueError: it is none.
    """
    return plain(ip_address(text.partition("%")[0]))  # a link-local one may name its interface


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped one stands for; any other as it is."""
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def overlapping(networks: Iterable[Network], others: Iterable[Network]) -> tuple[Network, Network] | None:
    """Return the first two networks, one of each, that share an address; None where no two do."""
    others = list(others)
    for one in networks:
        for other in others:
            if one.version == other.version and one.overlaps(other):
                return one, other
    return None
