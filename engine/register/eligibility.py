"""Who is eligible in a direct-issuance run (逕行發證): the CPS's own bars first, then the policy's rules.

Every rule of a policy narrows the circle; none widens it. No policy can reach past the bars: dissolved, annulled,
revoked, bankrupt or closed (CPS 4.2.1.1(2)), not really operating (1.3.1, 4.2.1.2), business suspended (choice 22).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StrictInt, model_validator

from engine.kinds import Kind
from engine.register.business_number import RULE, is_business_number
from engine.register.county import county_of
from engine.register.row import RegisterRow, RejectReason, RowRejected
from engine.register.statuses import Standing, find_status, texts_in_force

_BY_APPLICATION_ONLY = {Kind.ONE_STOP: "4.1.1.3", Kind.SETUP: "4.1.1.4"}


def _registered(kind: Kind) -> Kind:
    if kind in _BY_APPLICATION_ONLY:
        raise ValueError(f"{kind.value} is issued on application only (CPS {_BY_APPLICATION_ONLY[kind]})")
    return kind


def _in_force(text: str) -> str:
    if text not in texts_in_force():
        known = "、".join(sorted(texts_in_force()))
        raise ValueError(f"only entities in force may be issued to: {known} (CPS 4.2.1.1(2), 4.2.1.2)")
    return text


def _county(text: str) -> str:
    county = county_of(text)
    if county is None:
        raise ValueError("not a county or special municipality")
    return county


def _number(text: str) -> str:
    if not is_business_number(text):
        raise ValueError(RULE)
    return text


_Numbers = frozenset[Annotated[str, AfterValidator(_number)]]
_Capital = Annotated[StrictInt, Field(ge=0)]
_Day = Annotated[date, Strict()]  # otherwise a number would pass as seconds since 1970
_Limit = TypeVar("_Limit", int, date)


class EligibilityRules(BaseModel):
    """The eligibility part of a policy; None or an empty list means: no such rule.

    Attributes:
        kinds: which kinds of entity.
        states: which status texts, of those in force.
        set_up_from: first set-up date, inclusive.
        set_up_until: last set-up date, inclusive.
        counties: which counties, 台 or 臺.
        capital_from: least capital in New Taiwan dollars, inclusive.
        capital_until: greatest capital in New Taiwan dollars, inclusive.
        include: if not empty, only these numbers; they must keep every other rule as well.
        exclude: never these numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: frozenset[Annotated[Kind, AfterValidator(_registered)]] = Field(min_length=1)
    states: frozenset[Annotated[str, AfterValidator(_in_force)]] = Field(min_length=1)
    set_up_from: _Day | None = None
    set_up_until: _Day | None = None
    counties: frozenset[Annotated[str, AfterValidator(_county)]] = frozenset()
    capital_from: _Capital | None = None
    capital_until: _Capital | None = None
    include: _Numbers = frozenset()
    exclude: _Numbers = frozenset()

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        for first, last in (("set_up_from", "set_up_until"), ("capital_from", "capital_until")):
            low, high = getattr(self, first), getattr(self, last)
            if low is not None and high is not None and high < low:
                raise ValueError(f"{last} ({high}) lies below {first} ({low})")
        if both := self.include & self.exclude:
            raise ValueError(f"included and excluded at once: {', '.join(sorted(both))}")
        return self


def judge(row: RegisterRow, rules: EligibilityRules, today: date) -> RowRejected | None:
    """Hold a row against the CPS and a policy.

    Args:
        row: the row that speaks for its number (after merging).
        rules: the policy's eligibility part.
        today: the day in Taipei on which the run is planned.

    Returns:
        None when the entity is eligible, else the first rule that bars it.
    """
    found = _bar(row, today) or _narrowed(row, rules)
    if found is None:
        return None
    reason, field, detail = found
    return RowRejected(row.row_number, row.identifier, reason, field, detail)


_Found = tuple[RejectReason, str, str]


def _bar(row: RegisterRow, today: date) -> _Found | None:
    """The bars of the CPS, which hold under every policy."""
    status = find_status(row.kind, row.status_code, row.status)
    said = f"{row.status_code or '-'} {row.status}"
    if status is None:
        return RejectReason.STATUS_UNKNOWN, "status", f"{said}: not a status of the register's table"
    if status.standing is Standing.SUSPENDED:
        return (
            RejectReason.SUSPENDED,
            "status",
            f"{said}: not eligible in a direct run (CPS 4.4.5(1), choice 22)",
        )
    if status.standing is not Standing.IN_FORCE:
        clause = "4.2.1.1(2)" if status.standing is Standing.ENDED else "4.2.1.2"
        return RejectReason.NOT_IN_FORCE, "status", f"{said}: {status.standing.value} (CPS {clause})"
    if is_suspended(row, today):
        span = f"{row.suspended_from or ''} to {row.suspended_to or 'open'}"
        return (
            RejectReason.SUSPENDED,
            "suspended_from",
            f"{span}: business suspended (CPS 4.4.5(1), choice 22)",
        )
    if row.set_up_date is not None and row.set_up_date > today:
        return RejectReason.NOT_IN_FORCE, "set_up_date", f"{row.set_up_date}: not set up yet (CPS 4.2.1.2)"
    if not row.name:
        return RejectReason.COMPANY_NAME_UNKNOWN, "name", "the company's name is part of the DN (CPS 3.1.4)"
    return None


def is_suspended(row: RegisterRow, today: date) -> bool:
    """Say whether a day lies in a row's suspension of business; both ends belong to it."""
    if row.suspended_from is None:
        # a last day without a first one: in doubt suspended, until it has passed
        return row.suspended_to is not None and today <= row.suspended_to
    return row.suspended_from <= today and (row.suspended_to is None or today <= row.suspended_to)


def _narrowed(row: RegisterRow, rules: EligibilityRules) -> _Found | None:
    """The rules of the policy."""
    if row.kind not in rules.kinds:
        return RejectReason.KIND_NOT_IN_POLICY, "kind", f"{row.kind.value} is not a kind of the policy"
    status = find_status(row.kind, row.status_code, row.status)
    if status is None or status.text not in rules.states:
        return RejectReason.STATE_NOT_IN_POLICY, "status", f"{row.status} is not a state of the policy"
    if row.identifier in rules.exclude:
        return RejectReason.EXCLUDED, "identifier", "on the policy's exclude list"
    if rules.include and row.identifier not in rules.include:
        return RejectReason.NOT_INCLUDED, "identifier", "not on the policy's include list"
    if rules.counties and row.county not in rules.counties:
        return RejectReason.COUNTY_NOT_IN_POLICY, "county", f"{row.county or 'unknown'} is not in the policy"
    if not _within(row.set_up_date, rules.set_up_from, rules.set_up_until):
        span = f"{rules.set_up_from or ''} to {rules.set_up_until or ''}"
        return RejectReason.SET_UP_DATE_NOT_IN_POLICY, "set_up_date", f"{row.set_up_date}, policy {span}"
    if not _within(row.capital, rules.capital_from, rules.capital_until):
        span = f"{_or_blank(rules.capital_from)} to {_or_blank(rules.capital_until)}"
        return RejectReason.CAPITAL_NOT_IN_POLICY, "capital", f"{row.capital}, policy {span}"
    return None


def _or_blank(value: int | None) -> str:
    return "" if value is None else str(value)


def _within(value: _Limit | None, low: _Limit | None, high: _Limit | None) -> bool:
    """Whether a value lies within limits; an unknown value lies within no limit."""
    if low is None and high is None:
        return True
    return value is not None and (low is None or low <= value) and (high is None or value <= high)
