"""Register extracts of any size: companies that are plainly not real ones, under well-formed numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import orjson

from engine.register.business_number import is_business_number


def business_numbers(start: int = 1_000_000) -> Iterator[str]:
    """Yield well-formed 統一編號 from a number on."""
    return (text for number in count(start) if is_business_number(text := f"{number:08d}"))


def write_register(path: Path, entities: int, start: int) -> int:
    """Write an extract in the shape of the company register, one JSON object a line.

    Args:
        path: the file.
        entities: how many companies.
        start: the number to look for well-formed ones from.

    Returns:
        The number after the last one used.
    """
    last = start
    with path.open("wb") as file:
        for number in islice(business_numbers(start), entities):
            row = {
                "Business_Accounting_NO": number,
                "Company_Name": f"負載測試{number}股份有限公司",
                "Company_Status_Desc": "核准設立",
                "Paid_In_Capital_Amount": 1_000_000,
                "Company_Location": "臺北市中正區測試路1號",
                "Company_Setup_Date": "1000101",
                "Sus_App_Date": "",
                "Sus_Beg_Date": "",
                "Sus_End_Date": "",
            }
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            last = int(number)
    return last + 1
