"""The periods of CPS 8.1.2 and 8.2, in calendar days of Taipei.

A period in days does not count the day it begins on (Administrative Procedure Act of the Republic of China, article
48; Civil Code, article 120): a notice of day D with 30 days stands through the whole of day D+30, and what it announces
may take effect from the first second of D+31. A revision counts as made when it takes effect, up to which CPS 8.1.2.5
has the notice stand; a time limit for publishing it (CPS 8.2) runs from its approval (CPS 2.6.2(1), 8.3).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from engine.clock import TAIPEI
from engine.publication_kinds import COMMENT_DAYS, NOTICE_DAYS, Significance

PUBLISHED_WITHIN_DAYS = 7
"""Calendar days between a revision and its publication (CPS 8.2)."""


class Refusal(NamedTuple):
    """Why a time will not do."""

    reason: str
    rule: str
    """With its clause."""
    earliest: datetime | None = None
    """The first time that would do, where there is one."""


def day_of(moment: datetime) -> date:
    """Return the day in Taipei."""
    return moment.astimezone(TAIPEI).date()


def start_of(day: date) -> datetime:
    """Return the first second of a day in Taipei, in UTC."""
    return datetime.combine(day, time(), TAIPEI).astimezone(UTC)


def earliest_effect(noticed_at: datetime, significance: Significance) -> datetime:
    """Return from when on a revision may take effect (CPS 8.1.1, 8.1.2.1).

    Args:
        noticed_at: when its notice was published.
        significance: of the revision.

    Returns:
        The start of the day after the notice period; the time of the notice where there is no period.
    """
    days = NOTICE_DAYS[significance]
    return start_of(day_of(noticed_at) + timedelta(days=days + 1)) if days else noticed_at


def comments_until(noticed_at: datetime, significance: Significance) -> datetime | None:
    """Return the last second in which comments are taken (CPS 8.1.2.3), or None where none are asked for."""
    days = COMMENT_DAYS[significance]
    if not days:
        return None
    return start_of(day_of(noticed_at) + timedelta(days=days + 1)) - timedelta(seconds=1)


def refused_effect(
    effective_at: datetime, noticed_at: datetime, announced_for: datetime | None, significance: Significance
) -> Refusal | None:
    """Tell whether a revision may take effect at a time.

    Args:
        effective_at: when it is to.
        noticed_at: when its notice was published.
        announced_for: the time the notice names; None for the notice itself.
        significance: of the revision.

    Returns:
        None when it may, else why not.
    """
    earliest = earliest_effect(noticed_at, significance)
    if effective_at < earliest:
        days = NOTICE_DAYS[significance]
        return Refusal(
            f"the notice period of {days} days ends later",
            f"CPS 8.1.2.1: a {significance} revision is announced {days} calendar days before it takes effect",
            earliest if announced_for is None else max(earliest, announced_for),
        )
    if announced_for is not None and effective_at < announced_for:
        return Refusal(
            "the notice announces a later time",
            "CPS 8.1.2.5: the announced items are revised as announced",
            announced_for,
        )
    return None


def days_late(approved_on: date, published_at: datetime) -> int:
    """Return by how many days a revision is published later than CPS 8.2 allows; 0 when in time."""
    return max(0, (day_of(published_at) - approved_on).days - PUBLISHED_WITHIN_DAYS)
