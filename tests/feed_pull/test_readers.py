"""What comes from outside is read within its bounds: certificate lists, records of cards, admissions."""

from __future__ import annotations

import io
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import FeedRejected, InputRejected
from engine.feed.admission import Admission, admission_from
from engine.feed.status_records import StatusRecords
from engine.status.card_record import CardRecord, pack
from engine.status.status_store_writer import PackedCard
from engine.store.schema import CertificateState
from engine.x509.der_reader import NotDer
from engine.x509.revocation_list_reader import digest_of_signed, read_list
from tests.feed_pull.toy_feed import PARTITION_URI, parties_of, record, serial_of, toy, trust
from tests.judges.toy_authority import NOW
from tests.judges.toy_crl import crl, partition_scope
from tests.responders.synthetic_status import standing

REVOKED = {0x4000 + place: x509.ReasonFlags.key_compromise for place in range(3_000)}


@cache
def small() -> bytes:
    scope = partition_scope(PARTITION_URI)
    return crl(toy().ca, {0x40: x509.ReasonFlags.superseded}, number=7, scope=scope, base=6)


@pytest.mark.parametrize("entries", [{}, REVOKED], ids=["without entries", "longer than what is read"])
@pytest.mark.parametrize("base", [None, 5])
@pytest.mark.judge("cryptography")
def test_a_list_says_what_cryptography_reads(entries: dict[int, x509.ReasonFlags], base: int | None) -> None:
    octets = crl(toy().ca, entries, number=2**70, scope=partition_scope(PARTITION_URI), base=base)
    judge = x509.load_der_x509_crl(octets)
    found = read_list(io.BytesIO(octets), len(octets))
    assert found.issuer == judge.issuer.public_bytes()
    assert judge.next_update_utc is not None
    assert found.this_update == judge.last_update_utc.timestamp()
    assert found.next_update == judge.next_update_utc.timestamp()
    assert (found.number, found.base_number, found.distribution_point) == (2**70, base, PARTITION_URI)
    assert (found.signature, found.key_identifier) == (judge.signature, toy().ca.key_hash)
    start, end = found.signed
    assert octets[start:end] == judge.tbs_certlist_bytes
    hashed = digest_of_signed(io.BytesIO(octets), found.signed, "sha256")
    assert hashed == digest_of_signed(io.BytesIO(judge.tbs_certlist_bytes), (0, end - start), "sha256")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_spoiled_list_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(small())
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)))
    for spoiled in (bytes(octets), bytes(octets[:cut])):
        try:
            found = read_list(io.BytesIO(spoiled), len(spoiled))
        except NotDer:
            continue
        start, end = found.signed
        assert 0 < start < end < len(spoiled)


def test_a_list_without_a_number_is_none() -> None:
    builder = x509.CertificateRevocationListBuilder(toy().ca.certificate.subject, NOW, NOW.replace(year=2030))
    octets = builder.sign(toy().ca.key, SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(NotDer):
        read_list(io.BytesIO(octets), len(octets))


@cache
def records() -> StatusRecords:
    return StatusRecords(parties_of(toy().ca, toy().responder), trust())


@cache
def packed() -> bytes:
    return pack(record(1, 1, CertificateState.HELD))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_spoiled_record_is_refused_or_bears_its_answer(data: st.DataObject) -> None:
    octets = bytearray(packed())
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(octets)))
    for spoiled in (bytes(octets), bytes(octets[:cut]), bytes(octets) + b"\x00"):
        try:
            (one,) = records().packed_cards([(1, spoiled)])
        except FeedRejected:
            continue
        # What the answer does not say may be another: how long a certificate lives.
        assert isinstance(one, PackedCard)
        assert one.serials == (serial_of(1), serial_of(1, 1)) or len(spoiled) < len(packed())


def test_a_record_of_sixteen_certificates_is_taken() -> None:
    certificates = tuple(standing(serial_of(1, place)) for place in range(16))
    octets = pack(CardRecord(1, 0, certificates, b""))
    (one,) = records().packed_cards([(1, octets)])
    assert one == (1, octets, 0, tuple(serial_of(1, place) for place in range(16)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_what_is_no_admission_is_refused(octets: bytes) -> None:
    with pytest.raises(InputRejected):
        admission_from(octets)


def test_an_admission_comes_back_as_it_was() -> None:
    text = {"feed": "ab", "root": b"AAE=", "ca": b"Ag==", "operations": b"", "server": "pem", "profile": "電"}
    admission = Admission.model_validate(text)
    assert (admission.root, admission.ca) == (b"\x00\x01", b"\x02")
    assert admission_from(admission.document()) == admission
