"""Times as an officer writes and reads them: a day of Taipei, or an ISO 8601 time."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from engine.clock import TAIPEI
from engine.errors import InputRejected
from engine.publication.periods import start_of

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?")
_YEARS = range(1971, 2200)
"""From the first whole year of the store's epoch on; the end is a guess, above every certificate's."""

_RULE = "YYYY-MM-DD, a day in Taipei, or ISO 8601 such as 2027-01-15T22:00; Taipei time without an offset"


def day_from(text: str, place: str) -> date:
    """Read a day.

    Raises:
        InputRejected: it is none.
    """
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or day.year not in _YEARS:
        raise InputRejected("not a day", place=place, value=text, rule="YYYY-MM-DD")
    return day


def moment_from(text: str, place: str) -> datetime:
    """Read a day, which means its first second, or a time in whole seconds.

    Returns:
        The time in UTC.

    Raises:
        InputRejected: it is neither.
    """
    if _DAY.fullmatch(text):
        return start_of(day_from(text, place))
    try:
        moment = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise InputRejected("not a time", place=place, value=text, rule=_RULE)
    return (moment if moment.tzinfo else moment.replace(tzinfo=TAIPEI)).astimezone(UTC)


def in_taipei(moment: datetime) -> str:
    """Return a time as officers read it: Taipei, to the second."""
    return moment.astimezone(TAIPEI).isoformat(timespec="seconds")
