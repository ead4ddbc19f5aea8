"""Any octets at all: a question or MalformedRequest, never anything else, and nothing left behind in memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

from asn1crypto import ocsp as asn1_ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.ocsp_response import HASH_NAMES
from responders.ocsp_request import MalformedRequest, parse_request
from tests.responders.ocsp_requests import certificate_id, extension, nonce, plain, preferred, request, single

MUTATIONS = 100_000

RSA = ALGORITHM_IDENTIFIERS[SignatureAlgorithm.RSA_PKCS1_SHA256]
SEEDS = (
    plain(),
    request(
        *(single(certificate_id(hash_name=name), [extension("1.3.6.1.4.1.9", b"x")]) for name in HASH_NAMES),
        extensions=[nonce(b"n" * 16), preferred(RSA), extension("1.3.6.1.4.1.10", b"y", critical=False)],
        version=der.integer(0),
        requestor=der.element(0x82, b"example.org"),
        signature=der.sequence(RSA, der.bit_string(b"any"), der.context(0, der.sequence())),
    ),
)


def answered_or_refused(octets: bytes) -> bool:
    """Whether it was read; an exception of any other kind fails the test."""
    try:
        question = parse_request(octets)
    except MalformedRequest as error:
        assert str(error)
        return False
    assert question.asked
    return True


@settings(derandomize=True, max_examples=500, deadline=None, database=None)
@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    answered_or_refused(octets)


@settings(derandomize=True, max_examples=300, deadline=None, database=None)
@given(
    st.recursive(
        st.binary(max_size=8),
        lambda inner: st.builds(
            lambda tag, parts: der.element(tag, *parts),
            st.sampled_from([0x01, 0x02, 0x04, 0x05, 0x06, 0x30, 0x31, 0xA0, 0xA1, 0xA2]),
            st.lists(inner, max_size=4),
        ),
        max_leaves=30,
    )
)
def test_any_nesting(octets: bytes) -> None:
    answered_or_refused(octets)


def test_a_deep_nesting_is_refused_without_following_it() -> None:
    octets = b""
    while len(octets) < 16_000:
        octets = der.sequence(octets)
    assert not answered_or_refused(octets)


def mutations(random_source: random.Random) -> Iterator[bytes]:
    """One to three changes each: an octet set, flipped in one bit, taken out, doubled, or the end cut off."""
    while True:
        octets = bytearray(random_source.choice(SEEDS))
        for _ in range(random_source.randint(1, 3)):
            place = random_source.randrange(len(octets))
            match random_source.randrange(6):
                case 0:
                    octets[place] = random_source.randrange(256)
                case 1 | 2:
                    octets[place] ^= 1 << random_source.randrange(8)
                case 3 if len(octets) > 1:
                    del octets[place]
                case 4:
                    octets.insert(place, octets[place])
                case 5 if place:
                    del octets[place:]
        yield bytes(octets)


def test_a_hundred_thousand_mutations_leave_nothing_behind() -> None:
    stream = mutations(random.Random(6960))
    tracemalloc.start()
    try:
        read = sum(answered_or_refused(next(stream)) for _ in range(1_000))
        before = tracemalloc.get_traced_memory()[0]
        read += sum(answered_or_refused(next(stream)) for _ in range(MUTATIONS - 1_000))
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert MUTATIONS // 100 < read < MUTATIONS  # the mutations reach both verdicts
    assert after < before + 20_000


def test_what_is_read_in_a_mutation_asn1crypto_reads_too() -> None:
    stream = mutations(random.Random(2560))
    seen = 0
    while seen < 300:
        octets = next(stream)
        if octets in SEEDS or not answered_or_refused(octets):
            continue
        seen += 1
        tbs = asn1_ocsp.OCSPRequest.load(octets)["tbs_request"]
        theirs = [
            (one["req_cert"].dump(), one["req_cert"]["serial_number"].contents) for one in tbs["request_list"]
        ]
        assert [(one.encoding, one.serial) for one in parse_request(octets).asked] == theirs
