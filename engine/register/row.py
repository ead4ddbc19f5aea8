"""One row of the register as the rest of the engine sees it, and one row that was refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum

from engine.kinds import Kind


class RejectReason(Enum):
    """Why a row is not issued to; the value is the code in the reject report."""

    # the file's form
    NOT_UTF8 = "not-utf-8"
    NOT_JSON = "not-json"
    NOT_AN_OBJECT = "not-an-object"
    NOT_CSV = "not-csv"
    ROW_TOO_LONG = "row-too-long"
    ARRAY_CUT_OFF = "array-cut-off"
    # the row's fields
    SHAPE_UNKNOWN = "shape-unknown"
    KIND_WRONG = "kind-wrong"
    MISSING_FIELD = "missing-field"
    NOT_TEXT = "not-text"
    NUMBER_WRONG = "business-number-wrong"
    NAME_NOT_ALLOWED = "name-not-allowed"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    DATE_WRONG = "date-wrong"
    CAPITAL_WRONG = "capital-wrong"
    COUNTY_UNKNOWN = "county-unknown"
    STATUS_CONTRADICTORY = "status-contradictory"
    # several rows for one number
    ROWS_CONTRADICTORY = "rows-contradictory"
    # eligibility
    STATUS_UNKNOWN = "status-unknown"
    NOT_IN_FORCE = "not-in-force"
    SUSPENDED = "suspended"
    COMPANY_NAME_UNKNOWN = "company-name-unknown"
    KIND_NOT_IN_POLICY = "kind-not-in-policy"
    STATE_NOT_IN_POLICY = "state-not-in-policy"
    NOT_INCLUDED = "not-included"
    EXCLUDED = "excluded"
    SET_UP_DATE_NOT_IN_POLICY = "set-up-date-not-in-policy"
    COUNTY_NOT_IN_POLICY = "county-not-in-policy"
    CAPITAL_NOT_IN_POLICY = "capital-not-in-policy"


@dataclass(frozen=True, slots=True)
class RegisterRow:
    """A row that keeps every rule for a single row.

    Attributes:
        row_number: where it stood: the line (JSON lines), the element (JSON array) or the data record (CSV), from 1.
        kind: company, branch, business, limited partnership or limited-partnership branch.
        identifier: the 統一編號 of the entity itself; for a branch the branch's own.
        company_identifier: for a branch the 統一編號 of its company, else None.
        name: the registered name; for a branch the company's, empty where the extract does not carry it.
        branch_name: the branch's registered name, None for other kinds.
        status: the status in the register's words, empty where only a code was given.
        status_code: the register's two-digit code, None where neither given nor known for the text.
        capital: in New Taiwan dollars: paid-in where the register shows it, else the total.
        county: the county or special municipality in its official form with 臺, None where not recognised.
        address: the registered address, empty where blank.
        set_up_date: when the set-up was approved, None where blank.
        suspended_from: first day of a suspension of business, None where there is none.
        suspended_to: last day of it, None where open.
    """

    row_number: int
    kind: Kind
    identifier: str
    company_identifier: str | None
    name: str
    branch_name: str | None
    status: str
    status_code: str | None
    capital: int | None
    county: str | None
    address: str
    set_up_date: date | None
    suspended_from: date | None
    suspended_to: date | None


@dataclass(frozen=True, slots=True)
class RowRejected:
    """A row that is not issued to, for the reject report.

    Attributes:
        row_number: as in `RegisterRow`.
        identifier: the 統一編號 as far as it could be read, even when it is wrong.
        reason: the code of the rule that was broken.
        field: the register's name of the field, None where the row as a whole is at fault.
        detail: the value and the rule, in words. Never a whole row: it may hold personal data (CPS 2.8.1).
    """

    row_number: int
    identifier: str | None
    reason: RejectReason
    field: str | None
    detail: str
