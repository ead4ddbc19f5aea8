"""Reading OCSP requests (RFC 6960 section 4.1), from anybody and therefore with care.

DER is asked for wherever two readings would be possible: lengths, integers, what follows what. Read all the same is
what real clients send: a version or a `critical` that spells out its default, hash parameters that are NULL or absent,
an empty list of extensions, a nonce that is no OCTET STRING.

No recursion and no loop but over elements that are there, so the work is bounded by the octets, and those by
`MAX_REQUEST_OCTETS`.
"""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from engine.algorithms import SignatureAlgorithm
from engine.errors import InputRejected
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.der_reader import NotDer, expect, expect_last, read
from engine.x509.ocsp_response import HASH_NAMES, hash_algorithm

MAX_REQUEST_OCTETS = 16_384
"""A guess: as many CertIDs as may be asked for at SHA-512, and a signature with a chain of three certificates."""

MAX_ASKED = 32
"""Certificates in one request. A guess: RFC 9919 section 3.1.1 asks for one; a list of a few is a document's chain."""

MAX_NONCE_OCTETS = 128  # RFC 9654 section 2.1

NONCE = "1.3.6.1.5.5.7.48.1.2"  # id-pkix-ocsp-nonce, section 4.4.1

_NONCE = der.object_identifier(NONCE)
_ACCEPTABLE_RESPONSES = der.object_identifier(
    "1.3.6.1.5.5.7.48.1.4"
)  # section 4.4.3: basic is what everyone reads
_PREFERRED_ALGORITHMS = der.object_identifier("1.3.6.1.5.5.7.48.1.8")  # section 4.4.7
_UNDERSTOOD = frozenset({_NONCE, _ACCEPTABLE_RESPONSES, _PREFERRED_ALGORITHMS})

_CONTEXT_0, _CONTEXT_1, _CONTEXT_2 = 0xA0, 0xA1, 0xA2
_VERSION_1 = der.integer(0)
_NULL = der.null()
_LAST_GENERAL_NAME = 8  # registeredID, RFC 5280 section 4.2.1.6

_HASHES = MappingProxyType(
    {
        identifier: name
        for name in HASH_NAMES
        for identifier in (hash_algorithm(name), der.sequence(hash_algorithm(name)[2:-2]))
    }
)
"""Hash by AlgorithmIdentifier, with parameters NULL and without."""

_HASH_OBJECT_IDENTIFIERS = frozenset(hash_algorithm(name)[2:-2] for name in HASH_NAMES)

_SIGNATURE_ALGORITHMS = MappingProxyType(
    {identifier: algorithm for algorithm, identifier in ALGORITHM_IDENTIFIERS.items()}
    | {
        der.sequence(identifier[2:-2]): algorithm  # a client may leave the NULL of rsaEncryption's kin out
        for algorithm, identifier in ALGORITHM_IDENTIFIERS.items()
        if algorithm.is_deterministic
    }
)


class MalformedRequest(InputRejected):
    """The octets are no OCSP request that may be answered: OCSPResponseStatus malformedRequest."""


class AskedCertificate(NamedTuple):
    """A CertID (section 4.1.1)."""

    encoding: bytes
    """As it came, DER: a live answer repeats it octet for octet."""
    hash_name: str | None
    """One of HASH_NAMES, or None for a hash that is none of them."""
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: bytes
    """The INTEGER's content octets."""


class Question(NamedTuple):
    """What a request asks."""

    asked: tuple[AskedCertificate, ...]
    """At least one."""
    nonce: bytes | None
    """The nonce's octets, 1 to 128."""
    nonce_value: bytes | None
    """The extnValue that held it: what an answer repeats octet for octet."""
    preferred: tuple[SignatureAlgorithm, ...]
    """Those of the preferred signature algorithms that we know, in the client's order."""
    is_signed: bool
    """Whether there is a signature; nobody looks at it (section 4.1.2 leaves that to the responder)."""


def parse_request(octets: bytes) -> Question:
    """Read an OCSPRequest.

    Args:
        octets: the DER, nothing after it.

    Raises:
        MalformedRequest: it is none; asks for nothing or for too many; a nonce is of no legal length; an extension
            comes twice, or is critical and not understood.
    """
    if len(octets) > MAX_REQUEST_OCTETS:
        raise _malformed(f"{len(octets)} octets", f"at most {MAX_REQUEST_OCTETS} octets")
    try:
        return _request(octets)
    except NotDer as error:
        raise _malformed(str(error), "RFC 6960 section 4.1.1, in DER") from error


def _request(octets: bytes) -> Question:
    position, end = expect_last(octets, 0, len(octets), der.SEQUENCE)
    tbs, tbs_end = expect(octets, position, end, der.SEQUENCE)
    is_signed = tbs_end < end
    if is_signed:
        _check_signature(octets, tbs_end, end)
    position = _after_version_and_requestor(octets, tbs, tbs_end)
    first, list_end = expect(octets, position, tbs_end, der.SEQUENCE)
    asked = _asked(octets, first, list_end)
    extensions: dict[bytes, bytes] = {}
    if list_end < tbs_end:
        explicit = expect_last(octets, list_end, tbs_end, _CONTEXT_2)
        extensions = _extensions(octets, *explicit, understood=_UNDERSTOOD)
    nonce_value = extensions.get(_NONCE)
    nonce = None if nonce_value is None else _nonce(nonce_value)
    preferred = extensions.get(_PREFERRED_ALGORITHMS)
    return Question(asked, nonce, nonce_value, () if preferred is None else _preferred(preferred), is_signed)


def _check_signature(octets: bytes, position: int, end: int) -> None:
    """`[0] EXPLICIT Signature`: its form only."""
    start, stop = expect_last(octets, *expect_last(octets, position, end, _CONTEXT_0), der.SEQUENCE)
    after_algorithm = expect(octets, start, stop, der.SEQUENCE)[1]
    after_signature = expect(octets, after_algorithm, stop, der.BIT_STRING)[1]
    if after_signature < stop:
        expect_last(octets, *expect_last(octets, after_signature, stop, _CONTEXT_0), der.SEQUENCE)


def _after_version_and_requestor(octets: bytes, position: int, end: int) -> int:
    tag, start, stop = read(octets, position, end)
    if tag == _CONTEXT_0:
        if octets[start:stop] != _VERSION_1:
            raise _malformed(octets[start:stop].hex(), "version v1 (RFC 6960 section 4.1.1)")
        position = stop
        tag, start, stop = read(octets, position, end)
    if tag == _CONTEXT_1:
        name, _, name_end = read(octets, start, stop)
        if name_end != stop or name & 0xC0 != 0x80 or name & 0x1F > _LAST_GENERAL_NAME:
            raise NotDer(f"octet {start}: no GeneralName as requestorName")
        position = stop
    return position


def _asked(octets: bytes, position: int, end: int) -> tuple[AskedCertificate, ...]:
    asked: list[AskedCertificate] = []
    while position < end:
        if len(asked) == MAX_ASKED:
            raise _malformed(f"more than {MAX_ASKED}", f"at most {MAX_ASKED} certificates in a request")
        start, position = expect(octets, position, end, der.SEQUENCE)
        certificate, start = _certificate_id(octets, start, position)
        asked.append(certificate)
        if start < position:
            explicit = expect_last(octets, start, position, _CONTEXT_0)
            _extensions(octets, *explicit, understood=frozenset())
    if not asked:
        raise _malformed("0", "at least one certificate is asked for")
    return tuple(asked)


def _certificate_id(octets: bytes, position: int, end: int) -> tuple[AskedCertificate, int]:
    start, stop = expect(octets, position, end, der.SEQUENCE)
    hash_start, algorithm_end = expect(octets, start, stop, der.SEQUENCE)
    hash_name = _HASHES.get(octets[start:algorithm_end])
    if hash_name is None:
        _check_other_algorithm(octets, hash_start, algorithm_end)
    name_start, name_end = expect(octets, algorithm_end, stop, der.OCTET_STRING)
    key_start, key_end = expect(octets, name_end, stop, der.OCTET_STRING)
    serial_start, serial_end = expect_last(octets, key_end, stop, der.INTEGER)
    serial = octets[serial_start:serial_end]
    if not serial or (len(serial) > 1 and (serial[0], serial[1] >> 7) in ((0x00, 0), (0xFF, 1))):
        raise NotDer(f"octet {key_end}: INTEGER empty or not in its shortest form")
    names, keys = octets[name_start:name_end], octets[key_start:key_end]
    return AskedCertificate(octets[position:stop], hash_name, names, keys, serial), stop


def _check_other_algorithm(octets: bytes, position: int, end: int) -> None:
    """An AlgorithmIdentifier whose hash we do not know, with any one parameter; a hash we know has NULL or none."""
    after = _object_identifier_end(octets, position, end)
    if octets[position:after] in _HASH_OBJECT_IDENTIFIERS:
        raise NotDer(f"octet {after}: parameters of a hash that are neither NULL nor absent")
    if after < end and read(octets, after, end)[2] != end:
        raise NotDer(f"octet {after}: more than one parameter of a hash")


def _object_identifier_end(octets: bytes, position: int, end: int) -> int:
    start, stop = expect(octets, position, end, der.OBJECT_IDENTIFIER)
    content = octets[start:stop]
    # X.690 8.19.2: each component ends with an octet below 0x80 and does not begin with 0x80
    if not content or content[-1] >= 0x80 or content[0] == 0x80:
        raise NotDer(f"octet {position}: no OBJECT IDENTIFIER")
    for last, first in pairwise(content):
        if first == 0x80 and last < 0x80:
            raise NotDer(f"octet {position}: OBJECT IDENTIFIER with a needless octet")
    return stop


def _extensions(
    octets: bytes, position: int, end: int, *, understood: frozenset[bytes]
) -> dict[bytes, bytes]:
    """Read Extensions: extnValue by the encoding of extnID (RFC 5280 section 4.1).

    Raises:
        MalformedRequest: one comes twice (RFC 5280 section 4.2), or is critical and not among those understood
            (RFC 6960 section 4.4).
    """
    found: dict[bytes, bytes] = {}
    position, end = expect_last(octets, position, end, der.SEQUENCE)
    while position < end:
        start, position = expect(octets, position, end, der.SEQUENCE)
        after = _object_identifier_end(octets, start, position)
        identifier = octets[start:after]
        is_critical = False
        if octets[after : after + 1] == bytes((der.BOOLEAN,)):
            value_start, after = expect(octets, after, position, der.BOOLEAN)
            is_critical = octets[value_start:after] == b"\xff"
            if octets[value_start:after] not in (b"\x00", b"\xff"):
                raise NotDer(f"octet {value_start}: no BOOLEAN")
        value_start, _ = expect_last(octets, after, position, der.OCTET_STRING)
        if identifier in found:
            raise _malformed(identifier.hex(), "each extension once (RFC 5280 section 4.2)")
        if is_critical and identifier not in understood:
            raise _malformed(identifier.hex(), "critical extensions are understood (RFC 6960 section 4.4)")
        found[identifier] = octets[value_start:position]
    return found


def _nonce(value: bytes) -> bytes:
    """The nonce in an extnValue: an OCTET STRING in it (RFC 9654), or as of old (RFC 2560) the octets themselves."""
    try:
        start, stop = expect_last(value, 0, len(value), der.OCTET_STRING)
        nonce = value[start:stop]
    except NotDer:
        nonce = value
    if not 1 <= len(nonce) <= MAX_NONCE_OCTETS:
        raise _malformed(
            f"{len(nonce)} octets", f"a nonce has 1 to {MAX_NONCE_OCTETS} octets (RFC 9654 section 2.1)"
        )
    return nonce


def _preferred(value: bytes) -> tuple[SignatureAlgorithm, ...]:
    position, end = expect_last(value, 0, len(value), der.SEQUENCE)
    known = []
    while position < end:
        start, position = expect(value, position, end, der.SEQUENCE)
        _, stop = expect(value, start, position, der.SEQUENCE)
        if stop < position:  # certIdentifier
            expect_last(value, stop, position, der.SEQUENCE)
        algorithm = _SIGNATURE_ALGORITHMS.get(value[start:stop])
        if algorithm is not None:
            known.append(algorithm)
    return tuple(known)


def _malformed(value: str, rule: str) -> MalformedRequest:
    return MalformedRequest("this is no request to be answered", place="OCSP request", value=value, rule=rule)
