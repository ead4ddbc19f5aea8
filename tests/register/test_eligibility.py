"""Who is eligible: the bars of the CPS, and the rules of a policy."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.issuance.policy import Policy
from engine.kinds import Kind
from engine.register import readers
from engine.register.eligibility import EligibilityRules, judge
from engine.register.row import RegisterRow, RejectReason
from tests.register.extracts import NUMBERS, business, company, read_one, row

TODAY = date(2026, 8, 24)
EVERYBODY = EligibilityRules(
    kinds=frozenset(
        {Kind.COMPANY, Kind.BRANCH, Kind.BUSINESS, Kind.LIMITED_PARTNERSHIP, Kind.LIMITED_PARTNERSHIP_BRANCH}
    ),
    states=frozenset({"核准設立", "重整", "接管"}),
)


def verdict(found: RegisterRow, rules: EligibilityRules = EVERYBODY) -> RejectReason | None:
    rejected = judge(found, rules, TODAY)
    return None if rejected is None else rejected.reason


def rules(**changes: object) -> EligibilityRules:
    return EligibilityRules.model_validate(EVERYBODY.model_dump() | changes)


@pytest.mark.cps("1.3.1")
@pytest.mark.cps("4.2.1.2")
@pytest.mark.parametrize("status", ["核准設立", "核准登記", "重整", "接管"])
def test_a_company_in_force_is_eligible(tmp_path: Path, status: str) -> None:
    found = read_one(tmp_path, company(Company_Status_Desc=status))
    assert isinstance(found, RegisterRow)
    assert verdict(found) is None


@pytest.mark.cps("4.2.1.1(2)")
@pytest.mark.parametrize(
    "status",
    [
        *("解散", "撤銷", "破產", "合併解散", "撤回登記", "撤回認許", "廢止", "廢止認許", "解散已清算完結"),
        *("撤銷登記", "分割解散", "破產程序終結（終止）", "撤銷許可", "清理", "清理完結", "撤銷公司設立"),
    ],
)
def test_an_ended_company_is_not(tmp_path: Path, status: str) -> None:
    found = read_one(tmp_path, company(Company_Status_Desc=status))
    assert isinstance(found, RegisterRow)
    assert verdict(found) is RejectReason.NOT_IN_FORCE


@pytest.mark.cps("4.2.1.2")
@pytest.mark.parametrize("status", ["核准設立，但已命令解散", "核准設立,但已命令解散", "塗銷破產"])
def test_a_company_that_may_not_really_operate_is_not(tmp_path: Path, status: str) -> None:
    found = read_one(tmp_path, company(Company_Status_Desc=status))
    assert isinstance(found, RegisterRow)
    assert verdict(found) is RejectReason.NOT_IN_FORCE


def test_every_company_code_of_the_register_is_known() -> None:
    codes = [f"{code:02}" for code in range(1, 34)]
    eligible = [code for code in codes if verdict(row(status="", status_code=code)) is None]
    unknown = [
        code for code in codes if verdict(row(status="", status_code=code)) is RejectReason.STATUS_UNKNOWN
    ]
    assert eligible == ["01", "03", "25"]
    assert unknown == []


@pytest.mark.cps("4.2.1.1(2)")
@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        ("01", "核准設立", None),
        ("02", "停業", RejectReason.SUSPENDED),
        ("03", "歇業", RejectReason.NOT_IN_FORCE),
        ("03", "歇業/撤銷", RejectReason.NOT_IN_FORCE),
        ("04", "申覆（辯）期", RejectReason.NOT_IN_FORCE),
        ("05", "遷他縣市", RejectReason.NOT_IN_FORCE),
        ("06", "列入廢止中", RejectReason.NOT_IN_FORCE),
        ("07", "廢止", RejectReason.NOT_IN_FORCE),
        ("08", "破產", RejectReason.NOT_IN_FORCE),
        ("09", "設立無效", RejectReason.NOT_IN_FORCE),
        ("", "休息", RejectReason.STATUS_UNKNOWN),
        ("02", "", RejectReason.SUSPENDED),
        ("", "停業", RejectReason.SUSPENDED),
    ],
)
def test_business_statuses(tmp_path: Path, code: str, text: str, reason: RejectReason | None) -> None:
    fields = business(Business_Current_Status=code, Business_Current_Status_Desc=text)
    found = read_one(tmp_path, fields)
    assert isinstance(found, RegisterRow)
    assert verdict(found) is reason


@pytest.mark.cps("4.4.5(1)")
@pytest.mark.parametrize(
    ("first", "last", "eligible"),
    [
        (None, None, True),
        (0, None, False),
        (0, 0, False),
        (-10, 10, False),
        (-10, 0, False),
        (-10, -1, True),
        (1, 10, True),
        (-10, None, False),
        (None, 10, False),
        (None, -1, True),
    ],
)
def test_a_company_whose_business_is_suspended_today_is_not_eligible(
    first: int | None, last: int | None, eligible: bool
) -> None:
    found = row(
        suspended_from=None if first is None else TODAY + timedelta(days=first),
        suspended_to=None if last is None else TODAY + timedelta(days=last),
    )
    assert verdict(found) is (None if eligible else RejectReason.SUSPENDED)


def test_an_approved_suspension_without_a_first_day_begins_with_its_approval(tmp_path: Path) -> None:
    found = read_one(tmp_path, company(Sus_App_Date="1150801", Sus_End_Date="1160731"))
    assert isinstance(found, RegisterRow)
    assert found.suspended_from == date(2026, 8, 1)
    assert verdict(found) is RejectReason.SUSPENDED


def test_an_entity_that_is_set_up_in_the_future_is_not_eligible() -> None:
    assert verdict(row(set_up_date=TODAY)) is None
    assert verdict(row(set_up_date=TODAY + timedelta(days=1))) is RejectReason.NOT_IN_FORCE


@pytest.mark.cps("3.1.4")
def test_a_branch_needs_its_companys_name() -> None:
    found = row(kind=Kind.BRANCH, company_identifier=NUMBERS[1], name="", branch_name="花蓮分公司")
    assert verdict(found) is RejectReason.COMPANY_NAME_UNKNOWN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kinds": ["business"]}, RejectReason.KIND_NOT_IN_POLICY),
        ({"states": ["重整"]}, RejectReason.STATE_NOT_IN_POLICY),
        ({"include": [NUMBERS[1]]}, RejectReason.NOT_INCLUDED),
        ({"include": [NUMBERS[0]]}, None),
        ({"exclude": [NUMBERS[0]]}, RejectReason.EXCLUDED),
        ({"exclude": [NUMBERS[1]]}, None),
        ({"counties": ["台北市"]}, None),
        ({"counties": ["新北市"]}, RejectReason.COUNTY_NOT_IN_POLICY),
        ({"set_up_from": date(1950, 12, 29)}, None),
        ({"set_up_from": date(1950, 12, 30)}, RejectReason.SET_UP_DATE_NOT_IN_POLICY),
        ({"set_up_until": date(1950, 12, 29)}, None),
        ({"set_up_until": date(1950, 12, 28)}, RejectReason.SET_UP_DATE_NOT_IN_POLICY),
        ({"capital_from": 77_511_817_420}, None),
        ({"capital_from": 77_511_817_421}, RejectReason.CAPITAL_NOT_IN_POLICY),
        ({"capital_until": 77_511_817_420}, None),
        ({"capital_until": 77_511_817_419}, RejectReason.CAPITAL_NOT_IN_POLICY),
    ],
)
def test_each_rule_of_a_policy_narrows(changes: dict[str, object], reason: RejectReason | None) -> None:
    assert verdict(row(), rules(**changes)) is reason


@pytest.mark.parametrize(
    ("unknown", "limit"),
    [
        ("set_up_date", {"set_up_until": TODAY}),
        ("capital", {"capital_from": 0}),
        ("county", {"counties": ["臺北市"]}),
    ],
)
def test_an_unknown_value_lies_within_no_limit(unknown: str, limit: dict[str, object]) -> None:
    assert verdict(row(**{unknown: None})) is None
    assert verdict(row(**{unknown: None}), rules(**limit)) is not None


def test_including_does_not_reach_past_the_bars() -> None:
    found = row(status="解散", status_code="04")
    assert verdict(found, rules(include=[found.identifier])) is RejectReason.NOT_IN_FORCE


@pytest.mark.cps("4.1.1.3")
@pytest.mark.cps("4.1.1.4")
@pytest.mark.parametrize("kind", ["one-stop", "setup"])
def test_kinds_that_are_issued_on_application_only_cannot_be_in_a_policy(kind: str) -> None:
    with pytest.raises(ValidationError, match="on application only"):
        rules(kinds=[kind])


@pytest.mark.cps("4.2.1.1(2)")
@pytest.mark.parametrize("state", ["解散", "停業", "核准設立，但已命令解散", "unheard of"])
def test_a_policy_cannot_name_a_state_that_is_not_in_force(state: str) -> None:
    with pytest.raises(ValidationError, match="only entities in force"):
        rules(states=[state])


def test_the_sample_is_read_whole_and_every_company_in_it_is_eligible() -> None:
    sample = Path(readers.__file__).parent / "samples" / "listed-companies.jsonl"
    outcomes = list(readers.read_register(sample))
    policy = Policy.shipped("all-companies")
    eligible = [
        found
        for found in outcomes
        if isinstance(found, RegisterRow) and judge(found, policy.eligibility, TODAY) is None
    ]
    assert len(outcomes) == len(eligible) == len({found.identifier for found in eligible}) == 933
    assert sum(found.county is None for found in eligible) < 20
