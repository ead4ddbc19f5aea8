"""Calendar periods, as ISO 8601 writes them: P5Y, P1M, P1Y6M."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import PlainValidator

_FORM = re.compile(r"P(?=\d)(?:(\d{1,3})Y)?(?:(\d{1,3})M)?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A number of calendar months; a year is twelve (ISO 8601 section 4.4.3, years and months only)."""

    months: int

    @classmethod
    def parse(cls, text: object) -> Period:
        """Read the ISO 8601 form.

        Raises:
            ValueError: another form, or a period of nothing.
        """
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None or (period := cls(int(match[1] or 0) * 12 + int(match[2] or 0))).months == 0:
            raise ValueError("not a period of years and months such as P5Y or P1M")
        return period

    def after(self, moment: datetime) -> datetime:
        """The same day and time so many months later, in the calendar of the time zone of `moment`.

        A day that the month does not have becomes its last: 31 January and P1M give 28 or 29 February.
        """
        year, month = divmod(moment.year * 12 + moment.month - 1 + self.months, 12)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        return moment.replace(year=year, month=month + 1, day=day)

    def __str__(self) -> str:
        years, months = divmod(self.months, 12)
        return "P" + (f"{years}Y" if years else "") + (f"{months}M" if months else "")


PeriodField = Annotated[Period, PlainValidator(Period.parse)]
"""A period as a field of a configuration file."""
