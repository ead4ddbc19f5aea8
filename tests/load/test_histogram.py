"""Histograms against the list of all times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.load.histogram import Histogram, bucket_of, upper_seconds
from tests.load.calm import calm

times = st.floats(0, 100)


def of(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@calm
@given(times)
def test_a_bucket_is_narrow_and_holds_its_time(seconds: float) -> None:
    upper = upper_seconds(bucket_of(seconds))
    rounded = round(seconds * 1e6) / 1e6
    assert rounded <= upper + 1e-9
    assert upper <= rounded * (1 + 1 / 128) + 1e-6


@calm
@given(times, times)
def test_longer_times_are_in_no_earlier_bucket(one: float, other: float) -> None:
    assert (bucket_of(min(one, other))) <= bucket_of(max(one, other))


@calm
@given(st.lists(times, min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_that_of_the_list(values: list[float], share: float) -> None:
    found = of(values).percentile(share)
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    assert found is not None
    assert exact - 1e-6 <= found <= exact * (1 + 1 / 128) + 2e-6


@calm
@given(st.lists(times, max_size=50), st.lists(times, max_size=50))
def test_sums_and_json_lose_nothing(some: list[float], others: list[float]) -> None:
    added = Histogram.sum_of([of(some), Histogram(of(others).as_counts())])
    assert added.as_counts() == of(some + others).as_counts()
    assert len(added) == len(some) + len(others)


@calm
@given(st.lists(times, max_size=50), times)
def test_within_counts_none_that_is_longer(values: list[float], bound: float) -> None:
    found = of(values).within(bound)
    assert found <= sum(round(value * 1e6) / 1e6 <= bound for value in values)
    assert found >= sum(value * (1 + 1 / 128) + 2e-6 <= bound for value in values)


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram().percentile(0.99) is None
