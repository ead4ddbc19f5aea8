"""Walking a Name before it is signed; shares nothing with `names`, which encodes it."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

from asn1crypto import core as asn1

from engine.x509.der_reader import NotDer, expect, expect_last
from engine.x509.object_identifiers import ATTRIBUTE_TYPES

_NAME_FORMS = MappingProxyType(
    {  # attribute type as encoded: string tag and upper bound in characters (X.520, RFC 5280 appendix A.1)
        asn1.ObjectIdentifier(ATTRIBUTE_TYPES[name]).dump(): form
        for name, form in {
            "C": (0x13, 2),
            "L": (0x0C, 128),
            "O": (0x0C, 64),
            "OU": (0x0C, 64),
            "CN": (0x0C, 64),
            "serialNumber": (0x13, 64),
        }.items()
    }
)
_PRINTABLE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?")


@lru_cache(maxsize=1024)  # the two certificates of a card share their subject, within one work unit
def read_name(name: bytes) -> tuple[bytes, ...]:
    """Walk a Name and return its attribute types, as encoded and in order.

    Raises:
        NotDer: not a Name of single-valued RDNs with the attribute types, string types and lengths we write.
    """
    types = []
    position, end = expect_last(name, 0, len(name), 0x30)
    while position != end:
        set_start, set_end = expect(name, position, end, 0x31)
        pair_start, pair_end = expect_last(name, set_start, set_end, 0x30)
        _, type_end = expect(name, pair_start, pair_end, 0x06)
        attribute = name[pair_start:type_end]
        if attribute not in _NAME_FORMS:
            raise NotDer(f"octet {pair_start}: attribute type {attribute.hex()} in a name")
        tag, upper_bound = _NAME_FORMS[attribute]
        text_start, text_end = expect_last(name, type_end, pair_end, tag)
        _check_string(name[text_start:text_end], tag, upper_bound)
        types.append(attribute)
        position = set_end
    return tuple(types)


def _check_string(octets: bytes, tag: int, upper_bound: int) -> None:
    if tag == 0x13 and not _PRINTABLE.issuperset(octets):
        raise NotDer("a PrintableString has other characters")
    try:
        length = len(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotDer("a UTF8String is not UTF-8") from error
    if not 1 <= length <= upper_bound:
        raise NotDer(f"a name attribute has {length} characters, 1 to {upper_bound} may be")
