"""Rows as the register writes them, for the tests of this folder."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from hypothesis import settings

from engine.kinds import Kind
from engine.register.readers import read_register
from engine.register.row import RegisterRow, RejectReason, RowRejected

NUMBERS = ["11913502", "03244509", "11892801", "07568009", "40601248", "22099131", "04541302", "04595257"]
"""Real numbers of listed companies, and the Ministry of Finance's example."""

scripted = settings(derandomize=True, deadline=None, max_examples=60)
"""The same examples on every run; no limit on time, the machine may be busy."""


def company(**changes: object) -> dict[str, object]:
    """A company in force, blank where the register is blank."""
    return {
        "Business_Accounting_NO": NUMBERS[0],
        "Company_Name": "臺灣水泥股份有限公司",
        "Company_Status_Desc": "核准設立",
        "Capital_Stock_Amount": 100000000000,
        "Paid_In_Capital_Amount": 77511817420,
        "Company_Location": "台北市中山北路2段113號",
        "Company_Setup_Date": "0391229",
        "Revoke_App_Date": "       ",
        "Sus_App_Date": "",
        "Sus_Beg_Date": "",
        "Sus_End_Date": "       ",
    } | changes


def branch(**changes: object) -> dict[str, object]:
    """A branch in force; this data set does not name the company."""
    return {
        "Business_Accounting_NO": NUMBERS[0],
        "Branch_Office_Business_Accounting_NO": NUMBERS[1],
        "Branch_Office_Name": "花蓮分公司",
        "Branch_Office_Location": "花蓮縣花蓮市中山路1號",
        "Branch_Office_Status": "01",
        "Branch_Office_Status_Desc": "核准設立",
        "BR_ESTAB_DATE": "0951229",
        "CHG_APP_DATE": "       ",
        "Revoke_App_Date": "       ",
    } | changes


def business(**changes: object) -> dict[str, object]:
    """A business in force."""
    return {
        "President_No": NUMBERS[2],
        "Business_Name": "大同小吃店",
        "Business_Current_Status": "01",
        "Business_Current_Status_Desc": "核准設立",
        "Business_Register_Funds": "200000",
        "Business_Address": "南投縣南投市中興路1號",
        "Business_Organization_Type_Desc": "獨資",
        "Agency": "376480000A",
        "Agency_Desc": "南投縣政府",
        "Business_Setup_Approve_Date": "1010203",
    } | changes


def row(**changes: object) -> RegisterRow:
    """A row that passed the rules: a company in force."""
    fields: dict[str, object] = {
        "row_number": 1,
        "kind": Kind.COMPANY,
        "identifier": NUMBERS[0],
        "company_identifier": None,
        "name": "臺灣水泥股份有限公司",
        "branch_name": None,
        "status": "核准設立",
        "status_code": "01",
        "capital": 77_511_817_420,
        "county": "臺北市",
        "address": "台北市中山北路2段113號",
        "set_up_date": date(1950, 12, 29),
        "suspended_from": None,
        "suspended_to": None,
    }
    return RegisterRow(**(fields | changes))  # type: ignore[arg-type]  # the caller knows the fields' types


def read(path: Path, content: bytes | str, kind: Kind | None = None) -> list[RegisterRow | RowRejected]:
    """Write an extract and read it whole."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_register(path, kind=kind))


def read_one(folder: Path, fields: dict[str, object], kind: Kind | None = None) -> RegisterRow | RowRejected:
    """Read an extract of one row."""
    (outcome,) = read(folder / "extract", json.dumps(fields), kind)
    return outcome


def good(outcomes: list[RegisterRow | RowRejected]) -> list[tuple[int, str]]:
    """Row number and identifier of every accepted row."""
    return [(found.row_number, found.identifier) for found in outcomes if isinstance(found, RegisterRow)]


def bad(outcomes: list[RegisterRow | RowRejected]) -> list[tuple[int, RejectReason]]:
    """Row number and reason of every rejected row."""
    return [(found.row_number, found.reason) for found in outcomes if isinstance(found, RowRejected)]
