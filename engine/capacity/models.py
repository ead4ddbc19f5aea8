"""Two models of rate over sessions, fitted to what was measured; the one that predicts better is kept.

Capped linear: min(r·n, c). Each session brings the same until the token has as many calls in hand as it can work on.

The Universal Scalability Law (N. J. Gunther, Guerrilla Capacity Planning, 2007, chapter 4):
X(n) = γ·n / (1 + α·(n − 1) + β·n·(n − 1)), with α for what is done one after the other and β for what each must settle
with each other; with β above nought the rate falls again beyond √((1 − α)/β) sessions.

Both are fitted to the relative error, so that few sessions count as much as many. The measure is the root mean square
of the relative errors when each point is predicted from all the others (leave one out): a model with more parameters
gains nothing there by following the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

FEWEST_POINTS = 4
"""Below it leaving one out leaves as many points as the larger model has parameters."""

Floats = NDArray[np.float64]
_Predict = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes:
        model: `capped-linear` or `usl`.
        parameters: by name; rates in signatures a second.
        residuals: by sessions, measured less predicted, as a share of what was predicted.
        error: root mean square of the relative errors of the points used for the fit.
        left_out_error: the same with each point predicted from the others.
    """

    model: str
    parameters: Mapping[str, float]
    residuals: Mapping[int, float]
    error: float
    left_out_error: float

    def per_second(self, sessions: float) -> float:
        """Return the predicted signatures a second."""
        at = np.array([float(sessions)])
        return float(_PREDICT[self.model](self.parameters)(at)[0])


@dataclass(frozen=True, slots=True)
class Fits:
    """Both models; the better one by `left_out_error` first."""

    better: Fit
    other: Fit


def predict(model: str, parameters: Mapping[str, float], sessions: Floats) -> Floats:
    """Return the signatures a second that a model predicts for numbers of sessions."""
    return _PREDICT[model](parameters)(sessions)


def fit_models(rates: Mapping[int, float]) -> Fits | None:
    """Fit both models; None where there are too few points to compare them.

    Args:
        rates: signatures a second by number of sessions.
    """
    if len(rates) < FEWEST_POINTS:
        return None
    capped, usl = (_fit(model, rates) for model in _FIT)
    # Equal within rounding, the one with fewer parameters.
    return Fits(usl, capped) if usl.left_out_error < capped.left_out_error * 0.999 else Fits(capped, usl)


def _fit(model: str, rates: Mapping[int, float]) -> Fit:
    sessions = np.array(sorted(rates), dtype=np.float64)
    measured = np.array([rates[int(number)] for number in sessions], dtype=np.float64)
    parameters = _FIT[model](sessions, measured)
    predicted = _PREDICT[model](parameters)(sessions)
    residuals = (measured - predicted) / predicted
    left_out = np.array([_left_out(model, sessions, measured, index) for index in range(len(sessions))])
    return Fit(
        model,
        parameters,
        {int(number): float(share) for number, share in zip(sessions, residuals, strict=True)},
        _root_mean_square(residuals),
        _root_mean_square(left_out),
    )


def _left_out(model: str, sessions: Floats, measured: Floats, index: int) -> float:
    kept = np.arange(len(sessions)) != index
    predict = _PREDICT[model](_FIT[model](sessions[kept], measured[kept]))
    return float((measured[index] - predict(sessions[index : index + 1])[0]) / measured[index])


def _root_mean_square(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _fit_capped(sessions: Floats, measured: Floats) -> dict[str, float]:
    """Try every place where the line may end; a line and a level have least squares of their own."""
    best: tuple[float, float, float] | None = None
    for split in range(1, len(sessions) + 1):
        slope = _scale(sessions[:split], measured[:split])
        level = _scale(np.ones(len(sessions) - split), measured[split:]) if split < len(sessions) else None
        cap = slope * float(sessions[-1]) if level is None else level
        error = float(np.sum((np.minimum(slope * sessions, cap) / measured - 1) ** 2))
        if best is None or error < best[0]:
            best = (error, slope, cap)
    if best is None:
        raise ValueError("there is nothing to fit")
    return {"per_session": best[1], "cap": best[2]}


def _scale(shape: Floats, measured: Floats) -> float:
    """The factor with the least squares of factor · shape ÷ measured − 1."""
    ratio = shape / measured
    return float(np.sum(ratio) / np.sum(ratio**2))


def _fit_usl(sessions: Floats, measured: Floats) -> dict[str, float]:
    """Least squares of n ÷ X(n), which is linear in 1/γ, α/γ and β/γ; of those none may be negative.

    With three unknowns the best of all ways to set some of α and β to nought is the constrained optimum.
    """
    columns = np.stack([np.ones_like(sessions), sessions - 1, sessions * (sessions - 1)], axis=1)
    weights = measured / sessions  # so that the error is relative
    best: tuple[float, Floats] | None = None
    for free in (c for size in (0, 1, 2) for c in combinations((1, 2), size)):
        chosen = [0, *free]
        matrix = columns[:, chosen] * weights[:, None]
        solution = np.linalg.lstsq(matrix, np.ones(len(sessions)), rcond=None)[0]
        if solution[0] <= 0 or bool(np.any(solution < 0)):
            continue
        error = float(np.sum((matrix @ solution - 1) ** 2))
        if best is None or error < best[0]:
            whole = np.zeros(3)
            whole[chosen] = solution
            best = (error, whole)
    if best is None:
        raise ValueError("there is nothing to fit")
    a, b, c = (float(value) for value in best[1])
    return {"gamma": 1 / a, "alpha": b / a, "beta": c / a}


def _capped(parameters: Mapping[str, float]) -> _Predict:
    return lambda n: np.minimum(parameters["per_session"] * n, parameters["cap"])


def _usl(parameters: Mapping[str, float]) -> _Predict:
    gamma, alpha, beta = parameters["gamma"], parameters["alpha"], parameters["beta"]
    return lambda n: gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1))


_FIT = {"capped-linear": _fit_capped, "usl": _fit_usl}
_PREDICT = {"capped-linear": _capped, "usl": _usl}
