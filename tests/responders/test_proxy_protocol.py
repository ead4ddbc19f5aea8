"""PROXY protocol headers: both versions, in pieces, and everything that only looks like one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.config import RespondersSection
from engine.errors import ConfigurationInvalid
from engine.usage.address_ranges import Address
from responders.ocsp_http import HttpAnswering
from responders.ocsp_listener import Limits
from responders.proxied_connection import Arrivals, proxies_in
from responders.proxy_protocol import (
    MOST_LINE_OCTETS,
    MOST_OCTETS,
    SIGNATURE,
    NotProxyHeader,
    ProxyHeader,
    read_header,
)
from tests.responders.listener_client import post, running
from tests.responders.proxy_headers import version_1, version_2
from tests.responders.stand_ins import ScriptedResponder, http_over

V4, V6 = IPv4Address("192.0.2.7"), IPv6Address("2001:db8::7")
LOCAL, PROXY = 0x20, 0x21
TLVS = b"\x04\x00\x03pad\xea\x00\x01\x00"

WELL_FORMED: dict[str, tuple[bytes, Address | None]] = {
    "version 1, IPv4": (version_1(V4), V4),
    "version 1, IPv6": (version_1(V6), V6),
    "version 1, IPv4 as IPv6": (version_1(IPv6Address("::ffff:192.0.2.7")), V4),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "version 1, unknown with more": (b"PROXY UNKNOWN ffff:f::1 ffff::1 65535 65535\r\n", None),
    "version 1, the longest": (
        b"PROXY UNKNOWN " + b"f" * (MOST_LINE_OCTETS - len(b"PROXY UNKNOWN \r\n")) + b"\r\n",
        None,
    ),
    "version 2, IPv4": (version_2(V4), V4),
    "version 2, IPv6": (version_2(V6), V6),
    "version 2, IPv4 as IPv6": (version_2(IPv6Address("::ffff:192.0.2.7")), V4),
    "version 2, TLVs": (version_2(V4, TLVS), V4),
    "version 2, local": (SIGNATURE + bytes((LOCAL, 0x00)) + b"\x00\x00", None),
    "version 2, local with addresses": (SIGNATURE + bytes((LOCAL, 0x11)) + b"\x00\x0c" + bytes(12), None),
    "version 2, unspecified": (SIGNATURE + bytes((PROXY, 0x00)) + b"\x00\x05" + bytes(5), None),
    "version 2, datagrams": (SIGNATURE + bytes((PROXY, 0x12)) + b"\x00\x0c" + bytes(12), None),
    "version 2, UNIX": (SIGNATURE + bytes((PROXY, 0x31)) + b"\x00\xd8" + bytes(216), None),
    "version 2, the longest": (version_2(V4, bytes(MOST_OCTETS - 28)), V4),
}


@pytest.mark.parametrize(("octets", "source"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_header_is_read_when_it_is_there_and_not_before(octets: bytes, source: Address | None) -> None:
    for length in range(1, len(octets)):
        assert read_header(octets[:length]) is None
    assert read_header(octets) == ProxyHeader(len(octets), source)
    assert read_header(octets + b"POST / HTTP/1.1\r\n\r\n") == ProxyHeader(len(octets), source)


MALFORMED = {
    "a request": b"POST / HTTP/1.1\r\n\r\n",
    "another case": b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
    "another family": b"PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n",
    "datagrams": b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
    "IPv6 as IPv4": b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    "IPv4 as IPv6": b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    "an address with zeros": b"PROXY TCP4 192.0.02.7 192.0.2.1 1 2\r\n",
    "a short address": b"PROXY TCP4 192.0.2 192.0.2.1 1 2\r\n",
    "a wrong destination": b"PROXY TCP4 192.0.2.7 192.0.2.256 1 2\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
    "a space at the end": b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
    "a port with zeros": b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
    "a port too high": b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
    "a port missing": b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
    "a signed port": b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
    "a line without a carriage return": b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n" + bytes(MOST_LINE_OCTETS),
    "a control in unknown": b"PROXY UNKNOWN \x00\r\n",
    "unknown run on": b"PROXY UNKNOWNS\r\n",
    "a line too long": b"PROXY UNKNOWN " + b"f" * MOST_LINE_OCTETS + b"\r\n",
    "another version": SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
    "another command": SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
    "an unspecified family": SIGNATURE + b"\x21\x41\x00\x0c" + bytes(12),
    "an unspecified transport": SIGNATURE + b"\x21\x13\x00\x0c" + bytes(12),
    "no room for the addresses": SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    "no room for IPv6 addresses": SIGNATURE + b"\x21\x21\x00\x23" + bytes(35),
    "too long": version_2(V4, bytes(MOST_OCTETS - 27)),
}


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
def test_what_is_none_is_refused(octets: bytes) -> None:
    with pytest.raises(NotProxyHeader):
        read_header(octets)


def headers() -> st.SearchStrategy[bytes]:
    """Headers, bent at one place or cut short, and noise."""
    sound = st.sampled_from([octets for octets, _ in WELL_FORMED.values()] + list(MALFORMED.values()))
    bent = st.builds(
        lambda octets, place, value: (
            octets[: place % len(octets)] + value + octets[place % len(octets) + 1 :]
        ),
        sound,
        st.integers(0, 1_000),
        st.binary(max_size=3),
    )
    return (
        bent | st.binary(max_size=300) | st.builds(bytes.__add__, st.just(SIGNATURE), st.binary(max_size=300))
    )


@settings(derandomize=True, deadline=None)
@given(headers(), st.binary(max_size=40))
@example(b"PROXY UNKNOWN\r", b"\n")
def test_nothing_but_a_header_or_a_refusal_comes_of_any_octets(octets: bytes, after: bytes) -> None:
    """And what comes after a header changes nothing of what was read."""
    try:
        header = read_header(octets)
    except NotProxyHeader:
        with pytest.raises(NotProxyHeader):
            read_header(octets + after)
        return
    if header is not None:
        assert 0 < header.octets <= min(len(octets), MOST_OCTETS)
        assert read_header(octets + after) == header
        assert read_header(octets[: header.octets]) == header
    else:
        assert len(octets) < MOST_OCTETS


@settings(derandomize=True, deadline=None)
@given(st.ip_addresses(), st.binary(max_size=500), st.binary(max_size=100))
def test_both_versions_tell_the_same_client(address: Address, tlvs: bytes, after: bytes) -> None:
    told = (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
    for octets in (version_1(address), version_2(address, tlvs)):
        assert read_header(octets + after) == ProxyHeader(len(octets), told)


# ---- behind the listener ----


class Told:
    """Notes who asked, and answers everybody alike."""

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        self._http = http_over(ScriptedResponder())

    def http_for(self, address: Address) -> HttpAnswering:
        self.addresses.append(address)
        return self._http


def behind(told: Told, *proxies: str) -> Arrivals:
    return Arrivals(told.http_for, [ip_network(text) for text in proxies])


HERE = IPv4Address("127.0.0.1")


@pytest.mark.parametrize("make", [version_1, version_2])
@pytest.mark.parametrize("piece", [1, 7, 1_000])
async def test_the_client_is_told_by_the_proxy(make: Callable[[Address], bytes], piece: int) -> None:
    told = Told()
    async with running(http_over(ScriptedResponder()), arrivals=behind(told, "127.0.0.0/8")) as listener:
        client = await listener.connect()
        octets = make(V4) + post(b"question") + post(b"another")
        for place in range(0, len(octets), piece):
            await client.send(octets[place : place + piece])
            await trio.testing.wait_all_tasks_blocked()
        assert (await client.answer()).body == b"answer to question"
        assert (await client.answer()).body == b"answer to another"
        assert told.addresses == [V4]


@pytest.mark.parametrize(
    "octets", [octets for octets, source in WELL_FORMED.values() if source is None], ids=len
)
async def test_a_proxy_that_speaks_for_itself_is_the_client(octets: bytes) -> None:
    told = Told()
    async with running(http_over(ScriptedResponder()), arrivals=behind(told, "127.0.0.1")) as listener:
        client = await listener.connect()
        assert (await client.ask(octets + post(b"question"))).body == b"answer to question"
        assert told.addresses == [HERE]


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED)
async def test_a_proxy_without_a_header_is_not_listened_to(octets: bytes) -> None:
    told, responder = Told(), ScriptedResponder()
    async with running(http_over(responder), arrivals=behind(told, "127.0.0.1")) as listener:
        client = await listener.connect()
        await client.send(octets)
        with contextlib.suppress(trio.BrokenResourceError):  # closed with something unread
            assert await client.is_closed()
        assert told.addresses == []
        assert responder.asked == []


async def test_what_others_send_is_never_taken_for_a_header() -> None:
    """Neither as a header nor in front of a request: whoever is not listed cannot say that he is somebody else."""
    told = Told()
    async with running(http_over(ScriptedResponder()), arrivals=behind(told, "192.0.2.0/24")) as listener:
        for octets in (version_1(V4), version_2(V4)):
            client = await listener.connect()
            assert (await client.ask(octets + post(b"question"))).status == 400
            assert await client.is_closed()
        plain = await listener.connect()
        assert (await plain.ask(post(b"question"))).body == b"answer to question"
        assert told.addresses == [HERE] * 3


async def test_a_header_that_does_not_come_ends_the_connection() -> None:
    limits = Limits(connections=10, idle_seconds=60.0, request_seconds=0.05)
    told = Told()
    async with running(http_over(ScriptedResponder()), limits, behind(told, "127.0.0.1")) as listener:
        silent, slow = await listener.connect(), await listener.connect()
        await slow.send(version_2(V4)[:20])
        assert await silent.is_closed()
        assert await slow.is_closed()
        await listener.listener.connections.wait_empty()
        assert told.addresses == []


async def test_a_proxy_that_goes_away_before_its_header_leaves_nothing() -> None:
    told = Told()
    async with running(http_over(ScriptedResponder()), arrivals=behind(told, "127.0.0.1")) as listener:
        client = await listener.connect()
        await client.send(version_1(V4)[:5])
        await client.stream.aclose()
        await listener.listener.connections.wait_empty()
        assert told.addresses == []


def test_a_proxy_that_is_no_network_is_a_wrong_setting() -> None:
    assert proxies_in(RespondersSection(proxies=["10.0.0.0/8", "::1"])) == [
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
    ]
    for text in ("10.0.0.1/8", "proxy.example", "::ffff:10.0.0.1"):
        with pytest.raises(ConfigurationInvalid, match=r"\[responders\]\.proxies"):
            proxies_in(RespondersSection(proxies=[text]))
