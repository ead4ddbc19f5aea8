"""Windows and deadlines: days of Taipei, whatever the zone of the moment."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.capacity.working_time import (
    DailyWindow,
    end_of_work,
    parse_deadline,
    working_seconds,
    working_spans,
)
from engine.clock import TAIPEI
from engine.errors import InputRejected

MONDAY = datetime(2026, 11, 23, 12, tzinfo=TAIPEI)
NIGHT = DailyWindow(time(22), time(4))
MORNING = DailyWindow(time(9), time(12))


def test_a_window_across_midnight_is_worked_in_on_both_days() -> None:
    assert working_seconds(MONDAY, MONDAY + timedelta(days=1), [NIGHT]) == 6 * 3_600
    assert end_of_work(MONDAY, 3 * 3_600, [NIGHT]) == datetime(2026, 11, 24, 1, tzinfo=TAIPEI)
    within = datetime(2026, 11, 24, 3, tzinfo=TAIPEI)
    assert working_seconds(within, within + timedelta(hours=2), [NIGHT]) == 3_600


def test_windows_that_overlap_count_once() -> None:
    overlapping = [MORNING, DailyWindow(time(11), time(14)), DailyWindow(time(14), time(15))]
    assert working_seconds(MONDAY, MONDAY + timedelta(days=1), overlapping) == 6 * 3_600


def test_without_windows_all_time_counts() -> None:
    assert working_seconds(MONDAY, MONDAY + timedelta(hours=5), []) == 5 * 3_600
    assert end_of_work(MONDAY, 10.0, []) == MONDAY + timedelta(seconds=10)
    assert end_of_work(MONDAY, 1e12, []) is None


TIMES = st.times().map(lambda moment: moment.replace(microsecond=0))
WINDOWS = st.lists(
    st.builds(DailyWindow, TIMES, TIMES).filter(lambda window: window.opens != window.closes), max_size=4
)


@given(windows=WINDOWS, hours=st.integers(0, 200), work=st.integers(1, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_end_of_work_is_where_that_much_time_has_been_worked(
    windows: list[DailyWindow], hours: int, work: int
) -> None:
    start = MONDAY + timedelta(hours=hours)
    end = end_of_work(start, work, windows)
    if end is not None:
        assert working_seconds(start, end, windows) == pytest.approx(work)


@given(windows=WINDOWS)
@settings(max_examples=30, deadline=None)
def test_spans_are_in_order_and_apart(windows: list[DailyWindow]) -> None:
    spans = [span for _, span in zip(range(30), working_spans(MONDAY, windows), strict=False)]
    assert all(span.start < span.end for span in spans)
    assert all(before.end < after.start for before, after in pairwise(spans))


def test_deadlines_are_in_taipei_time() -> None:
    assert parse_deadline("2026-11-29T18:00", MONDAY) == datetime(2026, 11, 29, 10, tzinfo=UTC)
    assert parse_deadline("2026-11-29T18:00+00:00", MONDAY) == datetime(2026, 11, 29, 18, tzinfo=UTC)
    assert parse_deadline("Sunday 18:00", MONDAY) == datetime(2026, 11, 29, 18, tzinfo=TAIPEI)
    assert parse_deadline("sun 18:00", MONDAY) == datetime(2026, 11, 29, 18, tzinfo=TAIPEI)


def test_a_weekday_is_the_next_such_moment() -> None:
    assert parse_deadline("Monday 12:01", MONDAY) == MONDAY + timedelta(minutes=1)
    assert parse_deadline("Monday 12:00", MONDAY) == MONDAY + timedelta(days=7)


@pytest.mark.parametrize(
    "text", ["soon", "Sunday", "Sunday 25:00", "s 18:00", "sunnyday 18:00", "2026-13-01", "2026-11-01"]
)
def test_what_is_no_deadline_or_has_passed_is_refused(text: str) -> None:
    with pytest.raises(InputRejected):
        parse_deadline(text, MONDAY)
