"""A policy: whom a direct-issuance run issues to, what each entity gets, and when the run may work.

A policy is a TOML file, checked once and unchangeable from then on. Its text and digest go into the run's record, so
that a run can be resumed, and accounted for, without the file.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import datetime, time, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictInt,
    ValidationError,
    model_validator,
)

from engine.clock import TAIPEI
from engine.errors import ConfigurationInvalid
from engine.kinds import Rank
from engine.register.eligibility import EligibilityRules
from engine.x509.periods import Period

_LONGEST_VALIDITY = Period.parse("P10Y")
"""CPS 6.3.2.2 for RSA-2048. A profile may cap it lower, and never is a certificate valid beyond the CA's."""


def _ranked(rank: Rank) -> Rank:
    if rank is Rank.NONE:
        raise ValueError("a card is primary or secondary (CPS 1.3.5.1)")
    return rank


def _within_longest(text: str) -> str:
    if Period.parse(text) > _LONGEST_VALIDITY:
        raise ValueError(f"a certificate is valid for {_LONGEST_VALIDITY} at most (CPS 6.3.2.2)")
    return text


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("a time of day in Taipei, without an offset")
    return value


_TimeOfDay = Annotated[time, AfterValidator(_local)]


class CardRule(BaseModel):
    """How many cards of a rank every entity gets.

    Attributes:
        rank: primary or secondary.
        number: cards of this rank for each entity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: Annotated[Rank, AfterValidator(_ranked)]
    number: Annotated[StrictInt, Field(ge=1, le=100)] = 1  # 100: a guess, against a slip of the hand

    @model_validator(mode="after")
    def _one_primary(self) -> Self:
        if self.rank is Rank.PRIMARY and self.number != 1:
            raise ValueError("an entity has one primary card (CPS 1.3.5.1)")
        return self


class RunWindow(BaseModel):
    """A span of every day in which a run may sign; may cross midnight.

    Attributes:
        opens: time of day in Taipei, inclusive.
        closes: time of day in Taipei, exclusive; earlier than `opens` when the window crosses midnight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    opens: _TimeOfDay
    closes: _TimeOfDay

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.opens == self.closes:
            raise ValueError("a window opens and closes at different times; for all day, name no window")
        return self

    def contains(self, moment: datetime) -> bool:
        """Say whether an aware time lies inside the window."""
        now = moment.astimezone(TAIPEI).time()
        if self.opens < self.closes:
            return self.opens <= now < self.closes
        return now >= self.opens or now < self.closes

    def next_opening(self, moment: datetime) -> datetime:
        """Return the first opening at or after an aware time."""
        local = moment.astimezone(TAIPEI)
        opening = datetime.combine(local.date(), self.opens, TAIPEI)
        return opening if opening >= local else opening + timedelta(days=1)


class Policy(BaseModel):
    """A checked policy file.

    Attributes:
        name: the policy's name in records and reports.
        legal_basis: the decision or clause the run rests on; printed in the run report.
        eligibility: who gets cards.
        cards: what each entity gets.
        validity: life of the certificates as an ISO 8601 period of years and months (P5Y), None for the profile's own;
            profile and CA certificate may shorten it.
        crl_partition_size: how many certificates share one partition CRL.
        work_unit_size: how many certificates a worker leases at a time.
        run_windows: when the run may sign; empty means at any time.
        rate_cap: most certificates a second, None for no cap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    legal_basis: Annotated[str, Field(min_length=1)]
    eligibility: EligibilityRules
    cards: tuple[CardRule, ...] = Field(default=(CardRule(rank=Rank.PRIMARY),), min_length=1)
    validity: Annotated[str, AfterValidator(_within_longest)] | None = None
    # a guess: 1.2 M certificates in 60 partitions, each CRL below 1 MB even if every certificate is on it
    crl_partition_size: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 20_000
    # bench.issuance: what a unit costs as a whole, some 2 ms, is spread thin enough
    work_unit_size: Annotated[StrictInt, Field(ge=1, le=4_096)] = 512
    run_windows: tuple[RunWindow, ...] = ()
    rate_cap: Annotated[StrictInt, Field(ge=1)] | None = None

    _text: str | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _each_rank_once(self) -> Self:
        ranks = [card.rank for card in self.cards]
        if len(set(ranks)) != len(ranks):
            raise ValueError("cards names a rank twice; give its number instead")
        return self

    @classmethod
    def shipped(cls, name: str) -> Policy:
        """Return a policy that comes with the engine, such as ``all-companies``.

        Raises:
            ConfigurationInvalid: there is none of that name; names those there are.
        """
        folder = resources.files("engine.issuance") / "policies"
        names = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir())
        if name not in names:
            raise ConfigurationInvalid(
                "no such shipped policy", value=name, rule=f"one of {', '.join(names)}"
            )
        return policy_from_text((folder / f"{name}.toml").read_text("utf-8"), place=f"shipped policy {name}")

    @property
    def text(self) -> str:
        """The text of the file, to be kept with the run.

        Raises:
            ConfigurationInvalid: the policy was made without a file.
        """
        if self._text is None:
            raise ConfigurationInvalid("the policy does not come from a file", value=self.name)
        return self._text

    @property
    def digest(self) -> str:
        """SHA-256 of the file's bytes, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def may_run(self, moment: datetime) -> bool:
        """Say whether a run may sign at an aware time."""
        return not self.run_windows or any(window.contains(moment) for window in self.run_windows)

    def next_opening(self, moment: datetime) -> datetime | None:
        """Return when a run may sign again, or None when it may at the given aware time."""
        if self.may_run(moment):
            return None
        return min(window.next_opening(moment) for window in self.run_windows)


def load_policy(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        ConfigurationInvalid: the file cannot be read or is not UTF-8; or see `policy_from_text`.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        message = f"the policy cannot be read: {error.strerror or error}"
        raise ConfigurationInvalid(message, place=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"not UTF-8: {error}", place=str(path), rule="TOML 1.0") from error
    return policy_from_text(text, place=str(path))


def policy_from_text(text: str, *, place: str = "policy") -> Policy:
    """Check the text of a policy file.

    Args:
        text: TOML 1.0.
        place: the file's name, for errors.

    Raises:
        ConfigurationInvalid: not TOML, an unknown or missing key, or a value against its rule; names the key.
    """
    try:
        policy = Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(f"not a TOML file: {error}", place=place, rule="TOML 1.0") from error
    except ValidationError as error:
        raise _invalid(error, place) from error
    policy._text = text
    return policy


def _invalid(error: ValidationError, place: str) -> ConfigurationInvalid:
    faults = error.errors(include_url=False)
    first = faults[0]
    further = f"; {len(faults) - 1} more: {', '.join(map(_key, faults[1:]))}" if len(faults) > 1 else ""
    is_present = first["type"] not in {"missing", "value_error"} or not isinstance(first["input"], dict)
    return ConfigurationInvalid(
        f"the policy is wrong{further}",
        place=f"{place}, key {_key(first)}",
        value=first["input"] if is_present else None,
        rule=first["msg"].removeprefix("Value error, "),
    )


def _key(fault: Any) -> str:  # pydantic's ErrorDetails is not exported
    return ".".join(map(str, fault["loc"])) or "(whole file)"
