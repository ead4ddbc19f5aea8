"""Dates as the register writes them: seven digits, year of the Republic of China, month, day."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from engine.errors import InputRejected

_SEVEN_DIGITS = re.compile(r"[0-9]{7}")
_YEAR_ZERO = 1911
"""Year 1 of the Republic of China is 1912."""

_RULE = "a date is YYYMMDD: year of the Republic of China, month, day (0760221 = 1987-02-21)"


@lru_cache(maxsize=65_536)  # some 180 years of days: every date of a register stays in it
def parse_roc_date(text: str) -> date | None:
    """Read a date of the register.

    Args:
        text: seven digits, or blank (empty or spaces only).

    Returns:
        The date, or None when blank.

    Raises:
        InputRejected: not seven digits, or no such day.
    """
    text = text.strip(" \u3000")
    if not text:
        return None
    if _SEVEN_DIGITS.fullmatch(text) is None:
        raise InputRejected("not a date of the register", value=text, rule=_RULE)
    year = int(text[:3])
    if year == 0:
        raise InputRejected("the year 000 does not exist", value=text, rule=_RULE)
    try:
        return date(_YEAR_ZERO + year, int(text[3:5]), int(text[5:]))
    except ValueError as error:
        raise InputRejected("no such day", value=text, rule=_RULE) from error
