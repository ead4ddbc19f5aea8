"""The shapes of the commercial register's open data (商工登記), as data: which field says what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.kinds import Kind


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one shape; None where the shape has no such field.

    Attributes:
        kinds: what a row of the shape can be; the first unless the row or the caller says otherwise.
        capital: fields in the order in which they are preferred.
        suspended_from: fields in the order in which they are preferred.
    """

    kinds: tuple[Kind, ...]
    identifier: str
    company_identifier: str | None
    name: str
    branch_name: str | None
    status: str
    status_code: str
    capital: tuple[str, ...]
    county: str | None
    address: str
    set_up_date: str
    suspended_from: tuple[str, ...]
    suspended_to: str | None
    own_fields: frozenset[str]
    """Fields no other shape has: they tell the shape when the identifier is blank."""


KIND_FIELD = "kind"
"""Ours: tells limited partnerships, for which no data set is published, from companies, whose shape they use."""

COMPANY = Shape(
    kinds=(Kind.COMPANY, Kind.LIMITED_PARTNERSHIP),
    identifier="Business_Accounting_NO",
    company_identifier=None,
    name="Company_Name",
    branch_name=None,
    status="Company_Status_Desc",
    status_code="Company_Status",
    # 有限公司 have no paid-in capital in the register, only a total
    capital=("Paid_In_Capital_Amount", "Capital_Stock_Amount"),
    county=None,
    address="Company_Location",
    set_up_date="Company_Setup_Date",
    # an approved suspension without a first day is taken to begin with its approval: nothing is issued in doubt
    suspended_from=("Sus_Beg_Date", "Sus_App_Date"),
    suspended_to="Sus_End_Date",
    own_fields=frozenset({"Company_Status_Desc", "Company_Setup_Date", "Company_Location", "Company_Name"}),
)

BRANCH = Shape(
    kinds=(Kind.BRANCH, Kind.LIMITED_PARTNERSHIP_BRANCH),
    identifier="Branch_Office_Business_Accounting_NO",
    company_identifier="Business_Accounting_NO",
    name="Company_Name",
    branch_name="Branch_Office_Name",
    status="Branch_Office_Status_Desc",
    status_code="Branch_Office_Status",
    capital=(),
    county=None,
    address="Branch_Office_Location",
    set_up_date="BR_ESTAB_DATE",
    suspended_from=(),
    suspended_to=None,
    own_fields=frozenset({"Branch_Office_Name", "Branch_Office_Status_Desc", "Branch_Office_Location"}),
)

BUSINESS = Shape(
    kinds=(Kind.BUSINESS,),
    identifier="President_No",
    company_identifier=None,
    name="Business_Name",
    branch_name=None,
    status="Business_Current_Status_Desc",
    status_code="Business_Current_Status",
    capital=("Business_Register_Funds",),
    county="Agency_Desc",
    address="Business_Address",
    set_up_date="Business_Setup_Approve_Date",
    suspended_from=(),
    suspended_to=None,
    own_fields=frozenset({"Business_Name", "Business_Current_Status", "Business_Address"}),
)

_BY_IDENTIFIER = (BRANCH, BUSINESS, COMPANY)
"""Branch before company: a branch row carries its company's number in the company's field."""

IDENTIFIER_FIELDS = tuple(shape.identifier for shape in _BY_IDENTIFIER)


def shape_of(fields: Mapping[str, object]) -> Shape | None:
    """Find the shape of a row by its field names; None when it is none of the register's."""
    for shape in _BY_IDENTIFIER:
        if shape.identifier in fields:
            # the number's field of a company alone does not tell a branch whose own number is absent
            return BRANCH if shape is COMPANY and "Branch_Office_Name" in fields else shape
    for shape in _BY_IDENTIFIER:
        if not shape.own_fields.isdisjoint(fields):
            return shape
    return None


def is_header(names: Iterable[str]) -> bool:
    """Say whether these column names are those of a register extract."""
    return not set(IDENTIFIER_FIELDS).isdisjoint(names)
