"""PROXY protocol headers as a proxy writes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from responders.proxy_protocol import SIGNATURE

Address = IPv4Address | IPv6Address


def version_1(source: Address, port: int = 40_000) -> bytes:
    return f"PROXY TCP{source.version} {source} {_destination(source)} {port} 80\r\n".encode()


def version_2(source: Address, tlvs: bytes = b"", port: int = 40_000) -> bytes:
    family = 0x11 if source.version == 4 else 0x21
    ports = port.to_bytes(2, "big") + (80).to_bytes(2, "big")
    content = source.packed + _destination(source).packed + ports + tlvs
    return SIGNATURE + bytes((0x21, family)) + len(content).to_bytes(2, "big") + content


def _destination(source: Address) -> Address:
    return IPv4Address("192.0.2.1") if source.version == 4 else IPv6Address("2001:db8::1")
