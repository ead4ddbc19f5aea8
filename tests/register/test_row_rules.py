"""One row: what each shape becomes, and what each broken field is told."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.kinds import Kind
from engine.register.row import RegisterRow, RejectReason, RowRejected
from tests.register.extracts import NUMBERS, branch, business, company, read_one


def test_a_company(tmp_path: Path) -> None:
    assert read_one(tmp_path, company()) == RegisterRow(
        row_number=1,
        kind=Kind.COMPANY,
        identifier=NUMBERS[0],
        company_identifier=None,
        name="臺灣水泥股份有限公司",
        branch_name=None,
        status="核准設立",
        status_code="01",
        capital=77_511_817_420,
        county="臺北市",
        address="台北市中山北路2段113號",
        set_up_date=date(1950, 12, 29),
        suspended_from=None,
        suspended_to=None,
    )


def test_a_branch(tmp_path: Path) -> None:
    assert read_one(tmp_path, branch()) == RegisterRow(
        row_number=1,
        kind=Kind.BRANCH,
        identifier=NUMBERS[1],
        company_identifier=NUMBERS[0],
        name="",
        branch_name="花蓮分公司",
        status="核准設立",
        status_code="01",
        capital=None,
        county="花蓮縣",
        address="花蓮縣花蓮市中山路1號",
        set_up_date=date(2006, 12, 29),
        suspended_from=None,
        suspended_to=None,
    )


def test_a_business(tmp_path: Path) -> None:
    assert read_one(tmp_path, business()) == RegisterRow(
        row_number=1,
        kind=Kind.BUSINESS,
        identifier=NUMBERS[2],
        company_identifier=None,
        name="大同小吃店",
        branch_name=None,
        status="核准設立",
        status_code="01",
        capital=200_000,
        county="南投縣",
        address="南投縣南投市中興路1號",
        set_up_date=date(2012, 2, 3),
        suspended_from=None,
        suspended_to=None,
    )


@pytest.mark.parametrize(
    ("fields", "announced", "kind"),
    [
        (company(kind="limited-partnership"), None, Kind.LIMITED_PARTNERSHIP),
        (company(), Kind.LIMITED_PARTNERSHIP, Kind.LIMITED_PARTNERSHIP),
        (branch(kind="limited-partnership-branch"), None, Kind.LIMITED_PARTNERSHIP_BRANCH),
        (branch(), Kind.LIMITED_PARTNERSHIP_BRANCH, Kind.LIMITED_PARTNERSHIP_BRANCH),
        (branch(Company_Name="臺灣水泥股份有限公司"), Kind.BRANCH, Kind.BRANCH),
    ],
)
def test_limited_partnerships_use_the_shapes_of_companies(
    tmp_path: Path, fields: dict[str, object], announced: Kind | None, kind: Kind
) -> None:
    outcome = read_one(tmp_path, fields, announced)
    assert isinstance(outcome, RegisterRow)
    assert outcome.kind is kind


@pytest.mark.parametrize("blank", ["", "       ", "\u3000", None])
def test_every_blank_is_the_same_as_an_absent_field(tmp_path: Path, blank: str | None) -> None:
    optional = ["Company_Setup_Date", "Company_Location", "Paid_In_Capital_Amount", "Sus_Beg_Date"]
    absent = {name: value for name, value in company().items() if name not in optional}
    assert read_one(tmp_path, company(**dict.fromkeys(optional, blank))) == read_one(tmp_path, absent)


@pytest.mark.parametrize(
    ("paid_in", "total", "capital"),
    [(0, 500_000, 500_000), ("", "500000", 500_000), (300, 500, 300), (0, 0, 0), (None, None, None)],
)
def test_capital_is_the_paid_in_one_where_the_register_shows_it(
    tmp_path: Path, paid_in: object, total: object, capital: int | None
) -> None:
    outcome = read_one(tmp_path, company(Paid_In_Capital_Amount=paid_in, Capital_Stock_Amount=total))
    assert isinstance(outcome, RegisterRow)
    assert outcome.capital == capital


@pytest.mark.parametrize(
    ("fields", "reason", "field", "said"),
    [
        (
            company(Business_Accounting_NO="11913503"),
            RejectReason.NUMBER_WRONG,
            "Business_Accounting_NO",
            "11913503",
        ),
        (company(Business_Accounting_NO=11913502), RejectReason.NOT_TEXT, "Business_Accounting_NO", "number"),
        (company(Business_Accounting_NO=""), RejectReason.MISSING_FIELD, "Business_Accounting_NO", "blank"),
        (company(Company_Name="  "), RejectReason.MISSING_FIELD, "Company_Name", "blank"),
        (company(Company_Name="台\x07泥"), RejectReason.NAME_NOT_ALLOWED, "Company_Name", "U+0007"),
        (company(Company_Name=["台泥"]), RejectReason.NOT_TEXT, "Company_Name", "array"),
        (company(Company_Status_Desc=""), RejectReason.MISSING_FIELD, "Company_Status_Desc", "blank"),
        (company(Company_Status="04"), RejectReason.STATUS_CONTRADICTORY, "Company_Status_Desc", "解散"),
        (company(Company_Setup_Date="0391332"), RejectReason.DATE_WRONG, "Company_Setup_Date", "0391332"),
        (company(Sus_Beg_Date="19870221"), RejectReason.DATE_WRONG, "Sus_Beg_Date", "19870221"),
        (
            company(Sus_Beg_Date="1130102", Sus_End_Date="1130101"),
            RejectReason.DATE_WRONG,
            "Sus_End_Date",
            "2024-01-01",
        ),
        (
            company(Company_Location="台北市\r\n"),
            RejectReason.ADDRESS_NOT_ALLOWED,
            "Company_Location",
            "control",
        ),
        (company(Paid_In_Capital_Amount=-1), RejectReason.CAPITAL_WRONG, "Paid_In_Capital_Amount", "-1"),
        (
            company(Paid_In_Capital_Amount="1,000"),
            RejectReason.CAPITAL_WRONG,
            "Paid_In_Capital_Amount",
            "1,000",
        ),
        (company(Paid_In_Capital_Amount=1.5), RejectReason.CAPITAL_WRONG, "Paid_In_Capital_Amount", "1.5"),
        (company(Paid_In_Capital_Amount=True), RejectReason.CAPITAL_WRONG, "Paid_In_Capital_Amount", "True"),
        (
            company(Paid_In_Capital_Amount=10**30),
            RejectReason.CAPITAL_WRONG,
            "Paid_In_Capital_Amount",
            "1e+30",
        ),
        (company(kind="guild"), RejectReason.KIND_WRONG, "kind", "guild"),
        (company(kind="business"), RejectReason.KIND_WRONG, None, "company"),
        (branch(Business_Accounting_NO="1"), RejectReason.NUMBER_WRONG, "Business_Accounting_NO", "'1'"),
        (branch(Branch_Office_Name=""), RejectReason.MISSING_FIELD, "Branch_Office_Name", "blank"),
        (
            business(Agency_Desc="經濟部", Business_Address=""),
            RejectReason.COUNTY_UNKNOWN,
            "Agency_Desc",
            "3.1.4",
        ),
        ({"number": "11913502"}, RejectReason.SHAPE_UNKNOWN, None, "fields"),
        ({}, RejectReason.SHAPE_UNKNOWN, None, "fields"),
    ],
)
def test_a_broken_field_is_named_with_its_value_and_rule(
    tmp_path: Path, fields: dict[str, object], reason: RejectReason, field: str | None, said: str
) -> None:
    outcome = read_one(tmp_path, fields)
    assert isinstance(outcome, RowRejected)
    assert (outcome.row_number, outcome.reason, outcome.field) == (1, reason, field)
    assert said in outcome.detail


def test_a_rejected_row_keeps_its_identifier_even_a_wrong_one(tmp_path: Path) -> None:
    outcome = read_one(tmp_path, business(President_No="12345678"))
    assert outcome.identifier == "12345678"


def test_a_branch_without_its_own_number_is_no_company(tmp_path: Path) -> None:
    fields = branch()
    del fields["Branch_Office_Business_Accounting_NO"]
    outcome = read_one(tmp_path, fields)
    assert isinstance(outcome, RowRejected)
    assert outcome.field == "Branch_Office_Business_Accounting_NO"


def test_a_row_of_another_kind_than_announced_is_rejected(tmp_path: Path) -> None:
    outcome = read_one(tmp_path, business(), Kind.COMPANY)
    assert isinstance(outcome, RowRejected)
    assert outcome.reason is RejectReason.KIND_WRONG


@pytest.mark.cps("2.8.1")
def test_a_reject_does_not_repeat_personal_data(tmp_path: Path) -> None:
    outcome = read_one(tmp_path, company(Responsible_Name="某某某", Company_Setup_Date="x"))
    assert isinstance(outcome, RowRejected)
    assert "某某某" not in outcome.detail
