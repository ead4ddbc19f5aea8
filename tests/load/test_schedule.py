"""When arrivals are due: by the curve, by the seed, and by nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.popularity import Popularity
from bench.load.rate_curve import Piece, RateCurve
from bench.load.schedule import Schedule, Spacing, make_schedule
from tests.load.calm import calm

rates = st.floats(0, 500)
pieces = st.builds(Piece, st.floats(0.1, 60), rates, rates)
curves = (
    st.lists(pieces, min_size=1, max_size=6)
    .map(RateCurve)
    .filter(lambda curve: 1 <= curve.arrivals <= 20_000)
)


def made(curve: RateCurve, seed: int = 1, spacing: Spacing = "poisson", verify: float = 0.5) -> Schedule:
    return make_schedule(curve, [3, 1], spacing=spacing, verify=verify, seed=seed)


@calm
@given(curves, st.integers(0, 2**32), st.sampled_from(["poisson", "even"]))
def test_arrivals_are_in_order_and_within_the_curve(curve: RateCurve, seed: int, spacing: Spacing) -> None:
    due = made(curve, seed, spacing).due
    assert np.all(np.diff(due) >= 0)
    assert np.all((due >= 0) & (due <= curve.seconds + 1e-6))


@calm
@given(curves)
def test_evenly_spaced_arrivals_are_as_many_as_the_curve_encloses(curve: RateCurve) -> None:
    assert len(made(curve, spacing="even")) == math.ceil(curve.arrivals - 0.5)


@calm
@given(curves, st.integers(0, 2**32))
def test_poisson_arrivals_are_about_as_many(curve: RateCurve, seed: int) -> None:
    assert abs(len(made(curve, seed)) - curve.arrivals) <= 7 * math.sqrt(curve.arrivals) + 7


@calm
@given(st.lists(pieces, min_size=1, max_size=4).filter(lambda made: sum(p.arrivals for p in made) > 1))
def test_a_moment_is_where_so_many_arrivals_have_come(given_pieces: list[Piece]) -> None:
    """Against the integral of the rate, worked out piece by piece."""
    curve = RateCurve(given_pieces)
    counts = np.linspace(0, curve.arrivals, 50, endpoint=False)
    for count, moment in zip(counts, curve.moments(counts), strict=True):
        come, began = 0.0, 0.0
        for seconds, first, last in given_pieces:
            spent = min(max(moment - began, 0.0), seconds)
            come += spent * first + spent**2 * (last - first) / (2 * seconds)
            began += seconds
        assert come == pytest.approx(count, rel=1e-6, abs=1e-4)


@calm
@given(curves, st.integers(1, 7), st.integers(0, 2**32))
def test_the_shares_of_any_number_of_processes_are_the_whole(curve: RateCurve, count: int, seed: int) -> None:
    whole = made(curve, seed)
    shares = [made(curve, seed).share(index, count) for index in range(count)]
    assert sum(map(len, shares)) == len(whole)
    assert np.array_equal(np.sort(np.concatenate([one.due for one in shares])), whole.due)
    assert sorted(np.concatenate([one.draws for one in shares])) == sorted(whole.draws)


def test_the_seed_decides() -> None:
    curve = RateCurve([Piece(10, 100, 100)])
    assert np.array_equal(made(curve, 5).due, made(curve, 5).due)
    assert not np.array_equal(made(curve, 5).due[:100], made(curve, 6).due[:100])


def test_kinds_and_verification_come_in_the_shares_asked_for() -> None:
    schedule = made(RateCurve([Piece(100, 200, 200)]), verify=0.2)
    assert np.mean(schedule.kinds == 0) == pytest.approx(0.75, abs=0.02)
    assert np.mean(schedule.verified) == pytest.approx(0.2, abs=0.02)
    assert not made(RateCurve([Piece(10, 200, 200)]), verify=0).verified.any()
    assert made(RateCurve([Piece(10, 200, 200)]), verify=1).verified.all()


def test_popularity_follows_zipf() -> None:
    popularity = Popularity(1_000, 1.0, seed=3)
    draws = np.random.default_rng(1).random(50_000)
    counts = np.bincount([popularity.index(draw) for draw in draws], minlength=1_000)
    ranked = np.sort(counts)[::-1]
    assert ranked[0] / ranked[9] == pytest.approx(10, rel=0.2)
    assert ranked[0] / 50_000 == pytest.approx(1 / sum(1 / rank for rank in range(1, 1_001)), rel=0.05)


@calm
@given(st.integers(1, 500), st.floats(0, 3), st.floats(0, 1, exclude_max=True))
def test_every_draw_picks_one_of_them(count: int, exponent: float, draw: float) -> None:
    assert 0 <= Popularity(count, exponent, seed=1).index(draw) < count
