"""The periods of CPS 8.1.2 and 8.2, at the edges of days, months and years in Taipei."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.publication.periods import comments_until, days_late, earliest_effect, refused_effect
from engine.publication_kinds import Significance

LARGE, SMALL, RE_TYPESETTING = Significance


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.cps("8.1.2.1")
@pytest.mark.parametrize(
    ("noticed", "significance", "earliest"),
    [
        ("2026-12-15T10:30:00+08:00", LARGE, "2027-01-15T00:00:00+08:00"),  # over the end of a year
        ("2026-12-15T00:00:00+08:00", LARGE, "2027-01-15T00:00:00+08:00"),  # the first second of the day
        ("2026-12-15T23:59:59+08:00", LARGE, "2027-01-15T00:00:00+08:00"),  # and the last
        ("2026-12-14T16:00:00+00:00", LARGE, "2027-01-15T00:00:00+08:00"),  # the day is that of Taipei
        ("2026-12-14T15:59:59+00:00", LARGE, "2027-01-14T00:00:00+08:00"),
        ("2026-12-15T10:30:00+08:00", SMALL, "2026-12-31T00:00:00+08:00"),
        ("2026-12-16T10:30:00+08:00", SMALL, "2027-01-01T00:00:00+08:00"),
        ("2027-02-20T12:00:00+08:00", SMALL, "2027-03-08T00:00:00+08:00"),
        ("2028-02-20T12:00:00+08:00", SMALL, "2028-03-07T00:00:00+08:00"),  # a leap year
        ("2027-01-31T12:00:00+08:00", LARGE, "2027-03-03T00:00:00+08:00"),
    ],
)
def test_a_revision_waits_for_whole_calendar_days(
    noticed: str, significance: Significance, earliest: str
) -> None:
    noticed_at, first = at(noticed), at(earliest)
    assert earliest_effect(noticed_at, significance) == first
    assert refused_effect(first, noticed_at, None, significance) is None
    refusal = refused_effect(first - timedelta(seconds=1), noticed_at, None, significance)
    assert refusal is not None
    assert refusal.earliest == first
    assert "8.1.2.1" in refusal.rule


@pytest.mark.cps("8.1.2.3")
@pytest.mark.parametrize(
    ("noticed", "significance", "last"),
    [
        ("2026-12-15T10:30:00+08:00", LARGE, "2026-12-30T23:59:59+08:00"),
        ("2026-12-15T10:30:00+08:00", SMALL, "2026-12-22T23:59:59+08:00"),
        ("2026-12-24T23:59:59+08:00", SMALL, "2026-12-31T23:59:59+08:00"),
        ("2026-12-24T16:00:00+00:00", SMALL, "2027-01-01T23:59:59+08:00"),
        ("2028-02-22T00:00:00+08:00", SMALL, "2028-02-29T23:59:59+08:00"),
    ],
)
def test_comments_are_taken_to_the_end_of_a_day(noticed: str, significance: Significance, last: str) -> None:
    assert comments_until(at(noticed), significance) == at(last)


@pytest.mark.cps("8.1.1")
def test_re_typesetting_waits_for_nothing() -> None:
    noticed = at("2026-12-15T10:30:00+08:00")
    assert earliest_effect(noticed, RE_TYPESETTING) == noticed
    assert comments_until(noticed, RE_TYPESETTING) is None
    assert refused_effect(noticed, noticed, None, RE_TYPESETTING) is None


MOMENTS = st.integers(0, int(at("2199-01-01T00:00:00+08:00").timestamp())).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
ANNOUNCED = st.sampled_from([(LARGE, 30, 15), (SMALL, 15, 7)])


def taipei_day(moment: datetime) -> int:
    """Days since 1970-01-01 in Taipei, by seconds alone."""
    return (int(moment.timestamp()) + 8 * 3600) // 86_400


@pytest.mark.cps("8.1.2.1")
@pytest.mark.cps("8.1.2.3")
@given(MOMENTS, ANNOUNCED)
def test_the_periods_are_whole_days_between_the_notice_and_the_effect(
    noticed_at: datetime, announced: tuple[Significance, int, int]
) -> None:
    significance, notice_days, comment_days = announced
    earliest, until = earliest_effect(noticed_at, significance), comments_until(noticed_at, significance)
    assert until is not None
    assert taipei_day(earliest) - taipei_day(noticed_at) == notice_days + 1
    assert taipei_day(earliest - timedelta(seconds=1)) == taipei_day(noticed_at) + notice_days
    assert taipei_day(until) - taipei_day(noticed_at) == comment_days
    assert taipei_day(until + timedelta(seconds=1)) == taipei_day(until) + 1
    assert noticed_at < until < earliest


@pytest.mark.cps("8.1.2.1")
@given(MOMENTS, ANNOUNCED, st.integers(-100, 100))
def test_a_time_is_refused_exactly_before_the_period_ends_or_the_time_announced(
    noticed_at: datetime, announced: tuple[Significance, int, int], hours: int
) -> None:
    significance, notice_days, _ = announced
    announced_for = earliest_effect(noticed_at, significance) + timedelta(days=2)
    effective_at = announced_for + timedelta(hours=hours)
    refusal = refused_effect(effective_at, noticed_at, announced_for, significance)
    assert (refusal is None) == (hours >= 0)
    if refusal is not None:
        assert refusal.earliest == announced_for
        assert ("8.1.2.1" in refusal.rule) == (
            taipei_day(effective_at) <= taipei_day(noticed_at) + notice_days
        )


@pytest.mark.cps("8.2")
@pytest.mark.parametrize(
    ("approved", "published", "late"),
    [
        ("2026-12-28", "2026-12-28T09:00:00+08:00", 0),
        ("2026-12-28", "2027-01-04T23:59:59+08:00", 0),  # the seventh day, to its end
        ("2026-12-28", "2027-01-05T00:00:00+08:00", 1),
        ("2026-12-28", "2027-01-04T16:00:00+00:00", 1),  # the fifth in Taipei
        ("2028-02-25", "2028-03-03T12:00:00+08:00", 0),  # a leap year
        ("2027-02-25", "2027-03-05T12:00:00+08:00", 1),
    ],
)
def test_a_revision_is_late_after_seven_days(approved: str, published: str, late: int) -> None:
    assert days_late(date.fromisoformat(approved), at(published)) == late
