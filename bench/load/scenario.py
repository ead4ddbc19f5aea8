"""Scenarios: who asks what, how often, for how long. A TOML file, checked once (docs/load-tests.md)."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.load.rate_curve import Piece, RateCurve
from bench.load.schedule import Spacing
from engine.errors import ConfigurationInvalid

SHIPPED = Path(__file__).parent.parent / "scenarios"

MOST_SECONDS = 86_400.0
"""A day. A guess: nobody means a longer one."""

MOST_ARRIVALS = 5_000_000
"""A guess: what a process can keep in memory, 25 octets each."""

Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, le=1_000_000)]
KindName = Literal["post", "get", "nonce", "crl", "search"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constant(_Part):
    """The same rate all the time."""

    shape: Literal["constant"]
    seconds: Positive
    rate: Rate

    @property
    def pieces(self) -> list[Piece]:
        """As pieces of a curve."""
        return [Piece(self.seconds, self.rate, self.rate)]


class Ramp(_Part):
    """From one rate to another, steadily."""

    shape: Literal["ramp"]
    seconds: Positive
    first: Rate
    last: Rate

    @property
    def pieces(self) -> list[Piece]:
        """As pieces of a curve."""
        return [Piece(self.seconds, self.first, self.last)]


class Steps(_Part):
    """Some rates, each for the same time."""

    shape: Literal["steps"]
    seconds: Positive
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]

    @property
    def pieces(self) -> list[Piece]:
        """As pieces of a curve."""
        return [Piece(self.seconds / len(self.rates), rate, rate) for rate in self.rates]


class Burst(_Part):
    """A rate, and now and then another for a short time, which ends each `every` seconds."""

    shape: Literal["burst"]
    seconds: Positive
    rate: Rate
    burst: Rate
    every: Positive
    lasting: Positive

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.lasting < self.every <= self.seconds:
            raise ValueError("a burst lasts less than the time from one to the next, and that fits the stage")
        return self

    @property
    def pieces(self) -> list[Piece]:
        """As pieces of a curve."""
        count, rest = divmod(self.seconds, self.every)
        quiet = Piece(self.every - self.lasting, self.rate, self.rate)
        cycle = [quiet, Piece(self.lasting, self.burst, self.burst)]
        return cycle * int(count) + ([Piece(rest, self.rate, self.rate)] if rest else [])


Stage = Annotated[Constant | Ramp | Steps | Burst, Field(discriminator="shape")]


class Kind(_Part):
    """What is asked.

    Attributes:
        kind: post, get, nonce: OCSP; crl: revocation lists; search: the repository of a public host.
        weight: how often, against the other kinds.
        zipf: exponent of the Zipf distribution over certificates.
        hash_name: of the CertID.
        caches: how many caches ask (get), or fetchers (crl); each arrival is of one of them.
        keep_seconds: how long a cache keeps an answer at most: it may keep it for less than max-age (RFC 9111 4.2).
        optional: left out where the host does not serve it.
    """

    kind: KindName
    weight: Positive = 1.0
    zipf: Annotated[float, Field(ge=0, le=5)] = 1.0
    hash_name: Literal["sha1", "sha256"] = "sha1"
    caches: Annotated[int, Field(ge=1, le=10_000)] = 1
    keep_seconds: Positive = 86_400.0
    optional: bool = False


class Acts(_Part):
    """Changes of status while the load runs, through the product's own commands; needs a home and --change-status.

    Attributes:
        verb: the command of `sealmint cert`.
        ground: why (CPS 4.4.1, 4.4.5).
        start: seconds after the load's beginning.
        per_second: certificates.
        count: certificates in all.
    """

    verb: Literal["revoke", "suspend"] = "revoke"
    ground: str = "key-compromise"
    start: Annotated[float, Field(ge=0)] = 0.0
    per_second: Positive
    count: Annotated[int, Field(ge=1, le=1_000_000)]


class Issuance(_Part):
    """A run that is started while the load runs; needs a home and --run."""

    start: Annotated[float, Field(ge=0)] = 0.0


class Scenario(_Part):
    """A scenario.

    Attributes:
        name: what results call it.
        about: one sentence.
        stages: the rate over time, one after the other.
        kinds: what is asked, each kind once.
        arrivals: `poisson` or `even`.
        connections: how many connections there are, over all processes; each has one request on its way.
        waiting: arrivals that may wait for a connection, over all processes; beyond them they are missed.
        patience: seconds an arrival may wait for a connection until it is missed.
        timeout: seconds until a request without an answer is an error.
        verify: the share of answers that is verified.
        clock_skew: seconds by which the clocks of tester and server may differ.
        withdrawal_seconds: how long after an acknowledged act an old answer may still come.
        seed: of everything random.
        acts: changes of status meanwhile.
        issuance: a run meanwhile.
    """

    name: str
    about: str
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    arrivals: Spacing = "poisson"
    connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    waiting: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    patience: Positive = 5.0
    timeout: Positive = 5.0
    verify: Annotated[float, Field(ge=0, le=1)] = 0.1
    clock_skew: Annotated[float, Field(ge=0, le=300)] = 2.0
    withdrawal_seconds: Annotated[float, Field(ge=0, le=3_600)] = 2.0
    seed: int = 1
    acts: Acts | None = None
    issuance: Issuance | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if len({one.kind for one in self.kinds}) < len(self.kinds):
            raise ValueError("a kind stands twice")
        if self.curve.seconds > MOST_SECONDS or not 1 <= self.curve.arrivals <= MOST_ARRIVALS:
            raise ValueError(
                f"{self.curve.arrivals:,.0f} arrivals in {self.curve.seconds:,.0f} s; "
                f"1 to {MOST_ARRIVALS:,} in at most {MOST_SECONDS:,.0f} s are possible"
            )
        return self

    @cached_property
    def curve(self) -> RateCurve:
        """The rate over time."""
        return RateCurve([piece for stage in self.stages for piece in stage.pieces])

    def lasting(self, seconds: float) -> Scenario:
        """Return the scenario over another length of time, with the same rates; what happens in between moves along."""
        scale = seconds / self.curve.seconds
        changes: dict[str, object] = {"stages": [_scaled(stage, scale) for stage in self.stages]}
        for name in ("acts", "issuance"):
            part = getattr(self, name)
            changes[name] = None if part is None else part.model_dump() | {"start": part.start * scale}
        return checked(self.model_dump() | changes, self.name)

    def faster(self, factor: float) -> Scenario:
        """Return the scenario with all rates of arrivals multiplied."""
        stages = [_at_rates(stage, factor) for stage in self.stages]
        return checked(self.model_dump() | {"stages": stages}, self.name)

    def without(self, kind: str) -> Scenario:
        """Return the scenario without one of its kinds; the others are asked as often as before.

        Raises:
            ConfigurationInvalid: nothing else is asked.
        """
        kept = [one for one in self.kinds if one.kind != kind]
        gone = next(one.weight for one in self.kinds if one.kind == kind)
        if not kept:
            raise ConfigurationInvalid("the host serves nothing of what this scenario asks", place=self.name)
        stages = [_at_rates(stage, 1 - gone / sum(one.weight for one in self.kinds)) for stage in self.stages]
        kinds = [one.model_dump() for one in kept]
        return checked(self.model_dump() | {"kinds": kinds, "stages": stages}, self.name)


_TIMES = ("seconds", "every", "lasting")
_RATES = ("rate", "first", "last", "burst")


def _scaled(stage: Stage, scale: float) -> dict[str, object]:
    values = stage.model_dump()
    return values | {name: values[name] * scale for name in _TIMES if name in values}


def _at_rates(stage: Stage, factor: float) -> dict[str, object]:
    values = stage.model_dump()
    if "rates" in values:
        values["rates"] = [rate * factor for rate in values["rates"]]
    return values | {name: values[name] * factor for name in _RATES if name in values}


def checked(document: object, place: str) -> Scenario:
    """Check what a scenario says.

    Raises:
        ConfigurationInvalid: with all that is wrong.
    """
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'scenario'}: {one['msg']}" for one in error.errors()
        )
        raise ConfigurationInvalid("the scenario cannot be used", place=place, rule=wrong) from error


def load_scenario(name: str) -> Scenario:
    """Read a scenario.

    Args:
        name: a file, or the name of one that is shipped.

    Raises:
        ConfigurationInvalid: there is none, or it is wrong.
    """
    return checked(read_toml(name, SHIPPED), name)


def read_toml(name: str, shipped: Path) -> dict[str, object]:
    """Read a TOML file: the path of one, or the name of one in a directory of ours.

    Raises:
        ConfigurationInvalid: there is none, or it is no TOML.
    """
    path = Path(name)
    if not path.is_file() and path.name == name:
        path = shipped / f"{path.stem if path.suffix == '.toml' else name}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        names = ", ".join(sorted(one.stem for one in shipped.glob("*.toml")))
        raise ConfigurationInvalid(
            "there is no such file, and none of that name is shipped", place=name, rule=f"shipped: {names}"
        ) from error
    except ValueError as error:  # tomllib's own, or not UTF-8
        raise ConfigurationInvalid("the file is not TOML", place=str(path), rule=str(error)) from error
