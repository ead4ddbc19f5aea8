"""Service-level objectives: what was promised, what was measured, and by how much one misses the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.load.record import Cell, Record
from bench.load.scenario import KindName, read_toml
from engine.errors import ConfigurationInvalid

SHIPPED = Path(__file__).parent.parent / "slo"

PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99, "p99.9_ms": 0.999}

Measure = Literal[
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "p99.9_ms",
    "right_within",
    "error_rate",
    "miss_rate",
    "wrong_answers",
    "goodput_per_second",
    "verified_answers",
    "lateness_p99_ms",
]


class Objective(BaseModel):
    """One promise.

    Attributes:
        measure: what is looked at (docs/load-tests.md).
        kind: of one kind of question only.
        within_ms: with `right_within`: milliseconds.
        at_most: the value may not be larger; or
        at_least: not smaller.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Measure
    kind: KindName | None = None
    within_ms: Annotated[float, Field(gt=0)] | None = None
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("an objective has either at_most or at_least")
        if (self.within_ms is not None) != (self.measure == "right_within"):
            raise ValueError("within_ms belongs to right_within, and to nothing else")
        return self

    @property
    def label(self) -> str:
        """What tables call it."""
        bound = f" {self.within_ms:g} ms" if self.within_ms is not None else ""
        return f"{self.measure.replace('_', ' ')}{bound}" + (f" of {self.kind}" if self.kind else "")


class ServiceLevel(BaseModel):
    """The promises of an SLO file.

    Attributes:
        name: what results call it.
        warm_up_seconds: at the beginning, not looked at; wrong answers count from the first second.
        objectives: at least one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    warm_up_seconds: Annotated[int, Field(ge=0)] = 0
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]


class Judgement(NamedTuple):
    """What became of an objective."""

    objective: str
    bound: str
    value: float | None
    """None where nothing was measured: the objective is missed then."""
    met: bool
    margin: float | None
    """How far the value is on the right side of the bound; negative: by how much it was missed."""
    margin_share: float | None
    """The same as a share of the bound; None where the bound is 0."""


def load_service_level(name: str) -> ServiceLevel:
    """Read an SLO file.

    Args:
        name: a file, or the name of one that is shipped.

    Raises:
        ConfigurationInvalid: there is none, or it is wrong.
    """
    try:
        return ServiceLevel.model_validate(read_toml(name, SHIPPED))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigurationInvalid("the objectives cannot be used", place=name, rule=wrong) from error


def judge(level: ServiceLevel, record: Record, seconds: float) -> list[Judgement]:
    """Compare what was promised with what was counted.

    Args:
        level: the promises.
        record: of all processes.
        seconds: how long the load lasted, the warm-up included.
    """
    return [_judge(one, record, level.warm_up_seconds, seconds) for one in level.objectives]


def _judge(objective: Objective, record: Record, warm_up: int, seconds: float) -> Judgement:
    since = 0 if objective.measure == "wrong_answers" else warm_up
    value = measured(objective, record, record.total(objective.kind, since), seconds - since)
    if objective.at_most is not None:
        bound, sign, text = objective.at_most, 1, f"at most {objective.at_most:g}"
    else:
        bound, sign, text = objective.at_least or 0.0, -1, f"at least {objective.at_least:g}"
    if value is None:
        return Judgement(objective.label, text, None, False, None, None)
    margin = sign * (bound - value)
    return Judgement(
        objective.label, text, value, margin >= 0, margin, margin / abs(bound) if bound else None
    )


def measured(objective: Objective, record: Record, total: Cell, seconds: float) -> float | None:
    """Return the value of a measure; None where nothing says anything about it."""
    if objective.measure == "lateness_p99_ms":
        lateness = record.lateness.percentile(0.99)
        return None if lateness is None else 1_000 * lateness
    if not total.offered or seconds <= 0:
        return None
    if objective.measure in PERCENTILES:
        latency = total.latency.percentile(PERCENTILES[objective.measure])
        return None if latency is None else 1_000 * latency
    requested = total.offered - total.cached
    failed = total.errors.total() + total.wrong.total()
    match objective.measure:
        case "right_within":
            right = total.latency.within((objective.within_ms or 0) / 1_000)
            return right / requested if requested else None
        case "error_rate":
            return failed / total.sent if total.sent else None
        case "miss_rate":
            return total.missed.total() / total.offered
        case "goodput_per_second":
            return total.good / seconds
        case "verified_answers":
            return float(total.verified)
        case _:
            return float(total.wrong.total())
