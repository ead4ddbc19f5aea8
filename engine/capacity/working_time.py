"""The time in which a run may sign, between now and a deadline; and what a deadline is in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from typing import NamedTuple

from engine.clock import TAIPEI
from engine.errors import InputRejected

FARTHEST = timedelta(days=3_650)
"""Beyond it nobody asks when work ends. A guess."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = re.compile(r"([a-z]{3,9})\s+(\d{1,2}):(\d{2})", re.IGNORECASE)


class DailyWindow(NamedTuple):
    """A span of every day in Taipei; crosses midnight where it closes before it opens."""

    opens: time
    closes: time


class Span(NamedTuple):
    """From a moment, inclusive, until another, exclusive."""

    start: datetime
    end: datetime


def working_spans(start: datetime, windows: Sequence[DailyWindow]) -> Iterator[Span]:
    """Yield the spans from a moment on, in order and without overlaps; without windows one without end (10 years)."""
    farthest = start + FARTHEST
    if not windows:
        yield Span(start, farthest)
        return
    pending: Span | None = None
    day = start.astimezone(TAIPEI).date() - timedelta(days=1)  # a window of yesterday may cross midnight
    while datetime.combine(day, time(), TAIPEI) < farthest:
        for opens, closes in sorted(windows):
            begin = datetime.combine(day, opens, TAIPEI)
            end = datetime.combine(day if closes > opens else day + timedelta(days=1), closes, TAIPEI)
            span = Span(max(begin, start), min(end, farthest))
            if span.end <= span.start:
                continue
            if pending is None or span.start > pending.end:
                if pending is not None:
                    yield pending
                pending = span
            else:
                pending = Span(pending.start, max(pending.end, span.end))
        day += timedelta(days=1)
    if pending is not None:
        yield pending


def working_seconds(start: datetime, end: datetime, windows: Sequence[DailyWindow]) -> float:
    """Return how many seconds between two moments lie in a window."""
    seconds = 0.0
    for span in working_spans(start, windows):
        if span.start >= end:
            break
        seconds += (min(span.end, end) - span.start).total_seconds()
    return seconds


def end_of_work(start: datetime, seconds: float, windows: Sequence[DailyWindow]) -> datetime | None:
    """Return when so many seconds of work are done; None where that is more than 10 years away."""
    for span in working_spans(start, windows):
        length = (span.end - span.start).total_seconds()
        if seconds <= length:
            return span.start + timedelta(seconds=seconds)
        seconds -= length
    return None


def parse_deadline(text: str, now: datetime) -> datetime:
    """Return the moment that a deadline names: ISO 8601, or a day of the week and a time, the next such moment.

    Both in Taipei time, unless an ISO time names an offset.

    Raises:
        InputRejected: it is neither, or it has passed.
    """
    found = _WEEKDAY.fullmatch(text.strip())
    moment = _on_weekday(found, now) if found else _iso(text)
    if moment is None:
        rule = "2026-11-29T18:00, or Sunday 18:00 (Taipei time)"
        raise InputRejected("this is no deadline", place="--by", value=text, rule=rule)
    if moment <= now:
        raise InputRejected("the deadline has passed", place="--by", value=moment.isoformat())
    return moment


def _on_weekday(found: re.Match[str], now: datetime) -> datetime | None:
    name, hour, minute = found[1].lower(), int(found[2]), int(found[3])
    days = [number for number, day in enumerate(_DAYS) if day.startswith(name)]
    if len(days) != 1 or hour > 23 or minute > 59:
        return None
    local = now.astimezone(TAIPEI)
    date = local.date() + timedelta(days=(days[0] - local.weekday()) % 7)
    moment = datetime.combine(date, time(hour, minute), TAIPEI)
    return moment if moment > now else moment + timedelta(days=7)


def _iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=TAIPEI)
