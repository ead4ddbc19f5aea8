"""Both models are found again from their own values; the one that made the values is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.capacity.models import fit_models

SESSIONS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)


@given(
    per_session=st.floats(1, 5_000),
    places=st.floats(2.2, 30),
)
@settings(max_examples=60, deadline=None)
def test_a_capped_line_is_found_again(per_session: float, places: float) -> None:
    fits = fit_models({n: min(n, places) * per_session for n in SESSIONS})
    assert fits is not None
    assert fits.better.model == "capped-linear"
    assert fits.better.parameters["per_session"] == pytest.approx(per_session, rel=1e-6)
    assert fits.better.parameters["cap"] == pytest.approx(places * per_session, rel=1e-6)
    assert fits.better.error < 1e-6


@given(gamma=st.floats(1, 5_000), alpha=st.floats(0.02, 0.5), beta=st.floats(0.0005, 0.05))
@settings(max_examples=60, deadline=None)
def test_a_curve_of_the_scalability_law_is_found_again(gamma: float, alpha: float, beta: float) -> None:
    fits = fit_models({n: gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1)) for n in SESSIONS})
    assert fits is not None
    assert fits.better.model == "usl"
    assert fits.better.parameters == pytest.approx({"gamma": gamma, "alpha": alpha, "beta": beta}, rel=1e-4)
    assert fits.better.per_second(10) == pytest.approx(gamma * 10 / (1 + 9 * alpha + 90 * beta), rel=1e-4)


@given(rates=st.lists(st.floats(1, 1e5), min_size=4, max_size=10))
@settings(max_examples=60, deadline=None)
def test_whatever_was_measured_is_fitted_without_negative_parameters(rates: list[float]) -> None:
    fits = fit_models(dict(enumerate(rates, 1)))
    assert fits is not None
    assert fits.better.left_out_error <= fits.other.left_out_error * 1.002
    for fit in (fits.better, fits.other):
        assert all(value >= 0 for value in fit.parameters.values())
        assert set(fit.residuals) == set(range(1, len(rates) + 1))


def test_three_points_are_too_few() -> None:
    assert fit_models({1: 10.0, 2: 20.0, 4: 20.0}) is None
