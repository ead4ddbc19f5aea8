"""When CRLs are due, and what number they get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import TAIPEI
from engine.status.crl_schedule import (
    PendingChanges,
    crl_number,
    daily_moment,
    is_change_due,
    is_daily_due,
)
from engine.store.crls import Issue
from engine.store.schema import to_microseconds

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
AT = "02:30"
MINUTE = timedelta(minutes=1)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


def taipei(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=TAIPEI)


def scheduled_at(moment: datetime) -> Issue:
    return Issue(1, 2026030200, None, True, moment, moment + timedelta(hours=48), 0, 0)


@pytest.mark.parametrize(
    ("last", "now", "number"),
    [
        (0, taipei("2026-03-02 00:00"), 2026030200),
        (0, taipei("2026-03-01 23:59:59"), 2026030100),
        (2026030200, taipei("2026-03-02 12:00"), 2026030201),
        (2026030200, taipei("2026-03-03 00:00"), 2026030300),
        (2026030299, taipei("2026-03-02 23:00"), 2026030300),  # a hundred in a day run into the next
        (2026030300, taipei("2026-03-03 01:00"), 2026030301),
        (2030010100, taipei("2026-03-03 01:00"), 2030010101),  # the clock went back
    ],
)
def test_numbers(last: int, now: datetime, number: int) -> None:
    assert crl_number(last, now) == number


@given(st.lists(moments, min_size=2, max_size=50))
def test_numbers_only_grow(clock: list[datetime]) -> None:
    numbers = [0]
    for now in clock:  # in any order
        numbers.append(crl_number(numbers[-1], now))
    assert all(before < after for before, after in pairwise(numbers))


@pytest.mark.cps("4.4.10")
@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, "2026-03-02 01:00", True),
        ("2026-03-01 02:30:00", "2026-03-02 02:29:59", False),
        ("2026-03-01 02:30:00", "2026-03-02 02:30:00", True),
        ("2026-03-01 14:00:00", "2026-03-02 02:30:00", True),
        ("2026-03-02 02:30:00", "2026-03-02 02:30:01", False),
        ("2026-03-02 02:29:59", "2026-03-02 02:30:00", True),
        ("2026-02-20 02:30:00", "2026-03-02 01:00:00", True),
        ("2026-03-03 02:30:00", "2026-03-02 03:00:00", False),
    ],
)
def test_every_day_at_the_hour_in_taipei(last: str | None, now: str, due: bool) -> None:
    before = None if last is None else scheduled_at(taipei(last).astimezone(UTC))
    assert is_daily_due(before, taipei(now), AT) is due
    assert is_daily_due(before, taipei(now).astimezone(UTC), AT) is due


@given(moments, st.integers(0, 23), st.integers(0, 59))
def test_the_daily_moment_is_the_last_one(now: datetime, hour: int, minute: int) -> None:
    moment = daily_moment(now, f"{hour:02d}:{minute:02d}")
    assert moment <= now < moment + timedelta(days=1)
    local = moment.astimezone(TAIPEI)
    assert (local.hour, local.minute, local.second) == (hour, minute, 0)


@pytest.mark.parametrize(
    ("waited", "bound", "due"),
    [(timedelta(), 10, False), (5 * MINUTE, 10, True), (4 * MINUTE, 10, False), (timedelta(), 0, True)],
)
def test_changes_wait_for_half_of_the_bound(waited: timedelta, bound: int, due: bool) -> None:
    assert is_change_due(to_microseconds(NOW), NOW + waited, bound * MINUTE) is due
    assert not is_change_due(None, NOW + waited, bound * MINUTE)


def test_pending_changes_are_forgotten_as_far_as_they_are_published() -> None:
    pending = PendingChanges()
    assert pending.oldest(1) is None
    pending.add(1, 10, 100)
    pending.add(1, 20, 200)
    pending.add(2, 15, 150)
    pending.published(1, 9)
    assert (pending.oldest(1), pending.oldest(2)) == (100, 150)
    pending.published(1, 10)
    assert (pending.oldest(1), pending.oldest(2)) == (200, 150)
    pending.published(1, 30)
    pending.published(2, 15)
    assert (pending.oldest(1), pending.oldest(2)) == (None, None)
