"""Writer and reader, each against the standard's rules and a foreign library, never against each other alone."""

from __future__ import annotations

import pytest
from asn1crypto import core as asn1
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der.encoder import encode
from pyasn1.type import univ

from engine.x509 import der
from engine.x509.der_reader import NotDer, expect_last, positive_integer, read

SETTINGS = settings(derandomize=True, max_examples=150, deadline=None, database=None)


@SETTINGS
@given(st.integers(-(1 << 300), 1 << 300))
def test_integers_are_those_of_pyasn1(value: int) -> None:
    assert der.integer(value) == encode(univ.Integer(value))


@SETTINGS
@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 1 << 128), max_size=8))
def test_object_identifiers_are_those_of_pyasn1(first: int, second: int, rest: list[int]) -> None:
    dotted = ".".join(map(str, [first, second, *rest]))
    assert der.object_identifier(dotted) == encode(univ.ObjectIdentifier(dotted))


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_at_every_border(length: int) -> None:
    octets = bytes(length)
    encoded = der.octet_string(octets)
    assert encoded == asn1.OctetString(octets).dump()
    assert expect_last(encoded, 0, len(encoded), 0x04) == (len(encoded) - length, len(encoded))


@SETTINGS
@given(st.sets(st.integers(0, 8), min_size=1))
def test_named_bits_drop_trailing_zeros(positions: set[int]) -> None:
    bits = [int(position in positions) for position in range(max(positions) + 1)]
    assert der.named_bits(positions) == encode(univ.BitString(bits))


@SETTINGS
@given(st.lists(st.binary(max_size=4)))
def test_set_of_is_sorted(values: list[bytes]) -> None:
    expected = univ.SetOf(componentType=univ.OctetString())
    expected.extend(values)
    assert der.set_of(*(der.octet_string(value) for value in values)) == encode(expected)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "ends inside"),
        (b"\x30", "ends inside"),
        (b"\x30\x80\x00\x00", "indefinite"),
        (b"\x30\x81\x00", "shortest"),
        (b"\x30\x81\x7f" + bytes(127), "shortest"),
        (b"\x30\x82\x00\x80" + bytes(128), "shortest"),
        (b"\x30\x82\x01", "oversized"),
        (b"\x30\x85\x00\x00\x00\x00\x01\x00", "oversized"),
        (b"\x30\xff" + bytes(127), "oversized"),
        (b"\x30\x02\x00", "longer"),
        (b"\x3f\x21\x00", "high tag"),
    ],
)
def test_what_is_not_der_is_not_read(octets: bytes, reason: str) -> None:
    with pytest.raises(NotDer, match=reason):
        read(octets, 0, len(octets))


@pytest.mark.parametrize("content", ["", "00", "80", "ff", "0001", "007f", "000080"])
def test_integers_that_are_not_positive_and_minimal_are_not_read(content: str) -> None:
    encoded = der.element(der.INTEGER, bytes.fromhex(content))
    with pytest.raises(NotDer):
        positive_integer(encoded, 0, len(encoded))


@SETTINGS
@given(st.integers(1, 1 << 300))
def test_positive_integers_are_read(value: int) -> None:
    encoded: bytes = encode(univ.Integer(value))
    assert positive_integer(encoded + b"\x00", 0, len(encoded) + 1) == (value, len(encoded))


@SETTINGS
@given(st.binary(max_size=40))
def test_the_reader_never_leaves_the_octets_it_was_given(octets: bytes) -> None:
    try:
        _, start, stop = read(octets, 0, len(octets))
    except NotDer:
        return
    assert 2 <= start <= stop <= len(octets)
    assert octets[:stop] == der.element(octets[0], octets[start:stop])
