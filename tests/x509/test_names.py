"""What may stand in a subject's name; a bad one is rejected with field, value and rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputRejected
from engine.kinds import Kind, Rank, Usage
from engine.x509.names import SubjectFields, check_subject, subject_der
from engine.x509.profiles import CertificateProfile, load_profiles

PROFILES = load_profiles()
COMPANY = PROFILES.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.PRIMARY)
BRANCH = PROFILES.certificate(Kind.BRANCH, Usage.SIGNATURE, Rank.PRIMARY)
BUSINESS = PROFILES.certificate(Kind.BUSINESS, Usage.SIGNATURE, Rank.PRIMARY)
ONE_STOP = PROFILES.certificate(Kind.ONE_STOP, Usage.SIGNATURE, Rank.SECONDARY)
SETUP = PROFILES.certificate(Kind.SETUP, Usage.SIGNATURE, Rank.NONE)
GOOD = SubjectFields("測試股份有限公司", "台中分公司", "臺中市", "42", "70759028", None)


def rejected(profile: CertificateProfile, fields: SubjectFields) -> InputRejected:
    with pytest.raises(InputRejected) as caught:
        check_subject(profile, fields)
    return caught.value


@pytest.mark.cps("3.1.4")
@pytest.mark.parametrize(
    ("profile", "fields", "place", "rule"),
    [
        (COMPANY, replace(GOOD, organization="名" * 65), "organization", "at most 64 characters"),
        (BRANCH, replace(GOOD, unit="\U00020000" * 65), "unit", "at most 64 characters"),
        (BUSINESS, replace(GOOD, county="市" * 129), "county", "at most 128 characters"),
        (COMPANY, replace(GOOD, subscriber_number="9" * 65), "subscriber_number", "at most 64 characters"),
        (COMPANY, replace(GOOD, organization=""), "organization", "O belongs to this name"),
        (COMPANY, replace(GOOD, organization="\u3000"), "organization", "O belongs to this name"),
        (BRANCH, replace(GOOD, unit=None), "unit", "OU belongs to this name"),
        (BUSINESS, replace(GOOD, county=None), "county", "L belongs to this name"),
        (COMPANY, replace(GOOD, subscriber_number=None), "subscriber_number", "serialNumber belongs"),
        (COMPANY, replace(GOOD, subscriber_number="四十二"), "subscriber_number", "X.520"),
        (COMPANY, replace(GOOD, subscriber_number="4_2"), "subscriber_number", "X.520"),
        (COMPANY, replace(GOOD, organization="測試\u3000 "), "organization", "registered name"),
        (COMPANY, replace(GOOD, organization="測\x00試"), "organization", "control characters"),
        (COMPANY, replace(GOOD, organization="測\n試"), "organization", "control characters"),
        (COMPANY, replace(GOOD, organization="測\u202e試"), "organization", "format characters"),
        (COMPANY, replace(GOOD, organization="測\u200b試"), "organization", "format characters"),
        (COMPANY, replace(GOOD, organization="測\ue000試"), "organization", "private-use"),
        (COMPANY, replace(GOOD, organization="測\U000e0080試"), "organization", "unassigned"),
        (COMPANY, replace(GOOD, organization="測\ud800試"), "organization", "surrogates"),
        (COMPANY, replace(GOOD, organization="測\ufffd試"), "organization", "lost characters"),
        (COMPANY, replace(GOOD, organization="測\u2028試"), "organization", "line separators"),
        (COMPANY, replace(GOOD, uniform_number=None), "uniform_number", "eight digits"),
        (COMPANY, replace(GOOD, uniform_number="7075902"), "uniform_number", "eight digits"),
        (COMPANY, replace(GOOD, uniform_number="７０７５９０２８"), "uniform_number", "eight digits"),
        (COMPANY, replace(GOOD, registrant_kind=Kind.BUSINESS), "registrant_kind", "CPS 1.1"),
        (ONE_STOP, GOOD, "registrant_kind", "CPS 1.1"),
        (ONE_STOP, replace(GOOD, registrant_kind=Kind.BRANCH), "registrant_kind", "CPS 1.1"),
        (ONE_STOP, replace(GOOD, registrant_kind=Kind.BUSINESS, county=""), "county", "L belongs"),
        (SETUP, replace(GOOD, registrant_kind=Kind.BUSINESS), "registrant_kind", "CPS 1.1"),
    ],
)
def test_a_bad_field_is_named_with_its_rule(
    profile: CertificateProfile, fields: SubjectFields, place: str, rule: str
) -> None:
    error = rejected(profile, fields)
    assert error.place == place
    assert rule in (error.rule or "")


@pytest.mark.parametrize(
    "fields",
    [
        replace(GOOD, organization="名" * 64, subscriber_number="9" * 64),
        replace(GOOD, organization="\U0002070e\U0002a6d6" * 32),
        replace(GOOD, organization="Ａ＆Ｂ　股份有限公司（籌備）"),
        replace(GOOD, unit="\x00", county="市" * 200),  # a company's name has neither
        replace(GOOD, registrant_kind=Kind.COMPANY),
    ],
)
def test_what_is_within_the_rules_passes(fields: SubjectFields) -> None:
    check_subject(COMPANY, fields)
    assert subject_der(COMPANY, fields)[0] == 0x30


@pytest.mark.cps("3.1.11")
@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "a@b",
        "a@b..tw",
        "a b@example.com",
        "甲@example.com",
        "a@例子.tw",
        ".a@example.com",
        "a@-b.com",
        "a@example.com\n",
        "a@[127.0.0.1]",
        '"a"@example.com',
        "l" * 65 + "@example.com",
        "a@" + "d." * 126 + "com",
    ],
)
def test_what_is_no_mailbox_is_rejected(email: str) -> None:
    assert rejected(COMPANY, replace(GOOD, email=email)).place == "email"


@settings(derandomize=True, max_examples=100, deadline=None, database=None)
@given(text=st.text(min_size=0, max_size=70))
def test_a_checked_name_encodes_and_reads_back_the_same(text: str) -> None:
    fields = replace(GOOD, organization=text)
    try:
        check_subject(BUSINESS, fields)
    except InputRejected as error:
        assert error.place == "organization"
        return
    name = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "TW")])
    expected = [*name, *(x509.NameAttribute(oid, value) for oid, value in _business(text))]
    assert subject_der(BUSINESS, fields) == x509.Name(expected).public_bytes()


def _business(text: str) -> list[tuple[x509.ObjectIdentifier, str]]:
    return [
        (x509.NameOID.LOCALITY_NAME, "臺中市"),
        (x509.NameOID.ORGANIZATION_NAME, text),
        (x509.NameOID.SERIAL_NUMBER, "42"),
    ]


def test_an_unchecked_subject_with_a_missing_field_is_not_encoded_without_it() -> None:
    with pytest.raises(InputRejected, match="unit"):
        subject_der(BRANCH, replace(GOOD, unit=None))
