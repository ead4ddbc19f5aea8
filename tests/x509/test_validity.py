"""Validity: calendar periods in Taipei, the caps of CPS 6.3.2.2, never past the CA."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import TAIPEI
from engine.errors import ConfigurationInvalid, InputRejected
from engine.kinds import Kind, Rank, Usage
from engine.x509.periods import Period
from engine.x509.profiles import load_profiles
from engine.x509.validity import validity_for

PROFILES = load_profiles()
COMPANY = PROFILES.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.PRIMARY)
ONE_STOP = PROFILES.certificate(Kind.ONE_STOP, Usage.SIGNATURE, Rank.SECONDARY)
SETUP = PROFILES.certificate(Kind.SETUP, Usage.SIGNATURE, Rank.NONE)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def taipei(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=TAIPEI)  # type: ignore[arg-type,misc]  # mypy cannot count the fields


@pytest.mark.cps("6.3.2.2")
@pytest.mark.parametrize(
    ("profile", "now", "requested", "ends"),
    [
        (COMPANY, taipei(2026, 11, 23, 10), None, taipei(2031, 11, 22, 23, 59, 59)),
        (COMPANY, taipei(2026, 11, 23, 10), "P20Y", taipei(2036, 11, 22, 23, 59, 59)),  # cut to ten years
        (COMPANY, taipei(2026, 11, 23, 10), "P1M", taipei(2026, 12, 22, 23, 59, 59)),
        (
            COMPANY,
            taipei(2028, 2, 29, 10),
            "P1Y",
            taipei(2029, 2, 27, 23, 59, 59),
        ),  # leap day: 28 February, 10:00
        (COMPANY, taipei(2028, 2, 29, 10), "P4Y", taipei(2032, 2, 28, 23, 59, 59)),
        (COMPANY, taipei(2026, 11, 23, 23, 59, 59), "P1Y", taipei(2027, 11, 23, 23, 59, 59)),
        (ONE_STOP, taipei(2027, 3, 1), None, taipei(2028, 2, 29, 23, 59, 59)),
        (ONE_STOP, taipei(2026, 11, 23, 10), "P5Y", taipei(2027, 11, 22, 23, 59, 59)),
        (SETUP, taipei(2027, 1, 31, 10), None, taipei(2027, 2, 27, 23, 59, 59)),
        (SETUP, taipei(2028, 1, 31, 10), None, taipei(2028, 2, 28, 23, 59, 59)),
        (SETUP, taipei(2027, 1, 1, 1), None, taipei(2027, 1, 31, 23, 59, 59)),  # still 31 December in UTC
        (SETUP, taipei(2026, 12, 15, 8), "P1Y", taipei(2027, 1, 14, 23, 59, 59)),
    ],
)
def test_certificates_end_where_the_calendar_in_taipei_says(
    profile: object, now: datetime, requested: str | None, ends: datetime
) -> None:
    period = Period.parse(requested) if requested else None
    validity = validity_for(profile, now, FAR, requested=period)  # type: ignore[arg-type]  # the table mixes types
    assert validity.not_after == ends
    assert validity.not_before == now


@pytest.mark.cps("6.3.2.2")
def test_a_key_of_1024_bits_lasts_five_years_at_most_and_other_sizes_are_not_known() -> None:
    now, ten = taipei(2026, 11, 23, 10), Period.parse("P10Y")
    assert validity_for(COMPANY, now, FAR, 1024, ten).not_after == taipei(2031, 11, 22, 23, 59, 59)
    with pytest.raises(InputRejected, match=r"6\.3\.2\.2"):
        validity_for(COMPANY, now, FAR, 3072)


@pytest.mark.cps("6.3.2.2")
@settings(derandomize=True, max_examples=300, deadline=None, database=None)
@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2060, 12, 31), timezones=st.just(UTC)),
    left=st.timedeltas(timedelta(seconds=1), timedelta(days=8000)),
    years=st.integers(1, 30),
    profile=st.sampled_from([COMPANY, ONE_STOP, SETUP]),
)
def test_never_past_the_ca_and_never_longer_than_the_cap(
    now: datetime, left: timedelta, years: int, profile: object
) -> None:
    longest = {id(COMPANY): 3653, id(ONE_STOP): 366, id(SETUP): 31}[id(profile)]  # days, leap days included
    issuer_not_after = now.replace(microsecond=0) + left
    validity = validity_for(profile, now, issuer_not_after, requested=Period(12 * years))  # type: ignore[arg-type]
    assert validity.not_before <= now < validity.not_before + timedelta(seconds=1)
    assert validity.not_before < validity.not_after <= issuer_not_after
    assert validity.not_after - validity.not_before <= timedelta(days=longest)
    assert validity.not_after.microsecond == validity.not_before.microsecond == 0


def test_nothing_is_issued_under_a_ca_that_has_ended() -> None:
    with pytest.raises(ConfigurationInvalid, match="ended"):
        validity_for(COMPANY, taipei(2026, 1, 1), taipei(2026, 1, 1))


@pytest.mark.cps("6.3.2.1")
def test_the_ca_lasts_twenty_years_and_its_responder_as_long_as_the_ca() -> None:
    now = taipei(2028, 2, 29, 10, 30)
    ca = validity_for(PROFILES.authority("ca"), now, FAR, 4096)
    assert ca.not_after == taipei(2048, 2, 29, 10, 30)
    later = validity_for(PROFILES.authority("ocsp"), now + timedelta(days=900), ca.not_after)
    assert later.not_after == ca.not_after


@pytest.mark.parametrize(
    "text", ["P", "PT5M", "5Y", "P5Y ", "P0Y", "P1D", "p1y", "P-1Y", "P1M1Y", "P１Y", 5, None]
)
def test_other_forms_of_periods_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="period"):
        Period.parse(text)


def test_periods_are_written_as_they_are_read() -> None:
    assert [str(Period.parse(text)) for text in ("P5Y", "P1M", "P1Y6M", "P18M")] == [
        "P5Y",
        "P1M",
        "P1Y6M",
        "P1Y6M",
    ]
