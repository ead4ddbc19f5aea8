"""What the repository shows of a certificate is read from the certificate (CPS 3.1.1-3.1.4)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from engine.errors import InputRejected
from engine.kinds import Kind, Rank
from engine.repository.certificate_index import published_certificate
from engine.x509.certificate_profile import CertificateProfile
from tests.judges.toy_authority import ToyAuthority
from tests.responders.synthetic_status import der_of
from tests.x509.specimens import CASES, SERIAL, VALIDITY, Specimen, by_certificate_builder, case_name


@pytest.mark.cps("3.1.4")
@pytest.mark.parametrize(("specimen", "profile"), CASES, ids=case_name)
def test_every_kind_usage_and_rank_is_read(specimen: Specimen, profile: CertificateProfile) -> None:
    octets = by_certificate_builder(specimen, profile).public_bytes(Encoding.DER)
    read = published_certificate(17, 1_700_000_000, octets)
    fields = specimen.fields
    is_branch = specimen.kind in (Kind.BRANCH, Kind.LIMITED_PARTNERSHIP_BRANCH)
    has_county = specimen.kind is Kind.BUSINESS or (
        specimen.kind is Kind.ONE_STOP and fields.registrant_kind is Kind.BUSINESS
    )
    assert (read.item_id, read.accepted_at, read.serial, read.certificate) == (
        17,
        1_700_000_000,
        SERIAL,
        octets,
    )
    assert (read.subject_kind, read.usage) == (specimen.kind.value, profile.usage.value)
    assert read.rank == (None if profile.rank is Rank.NONE else profile.rank.value)
    assert (read.name, read.number) == (fields.organization, fields.uniform_number)
    assert read.unit_name == (fields.unit if is_branch else None)
    assert read.county == (fields.county if has_county else None)
    assert (read.not_before, read.not_after) == (
        int(VALIDITY.not_before.timestamp()),
        int(VALIDITY.not_after.timestamp()),
    )


def test_what_is_no_subscriber_certificate_is_refused() -> None:
    toy = ToyAuthority()
    for octets in (b"", b"\x30\x03\x02\x01\x01", der_of(toy.ca), der_of(toy.responder)):
        with pytest.raises(InputRejected, match="item 5"):
            published_certificate(5, 0, octets)


def test_a_certificate_with_octets_left_over_is_refused() -> None:
    octets = by_certificate_builder(*CASES[0]).public_bytes(Encoding.DER)
    with pytest.raises(InputRejected):
        published_certificate(5, 0, octets + b"\x00")
