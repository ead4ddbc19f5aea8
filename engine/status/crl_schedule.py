"""When CRLs are due: every day for every scope (CPS 4.4.10), and soon after a change of status."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import datetime, time, timedelta

from engine.clock import TAIPEI
from engine.store.crls import Issue

ON_CHANGE_SHARE = 0.5
"""Of the time within which the CRLs of a change must be out: how long it waits for others to come along. The rest is
left for making them, and for a token that is away for a moment. A guess."""


def crl_number(last: int, now: datetime) -> int:
    """Return the next cRLNumber: the Taipei date with two digits behind, or one more than the last.

    Args:
        last: the last number of the scope; 0 before the first.
        now: thisUpdate. A clock that goes back does not take the numbers with it.
    """
    return max(last + 1, int(now.astimezone(TAIPEI).strftime("%Y%m%d00")))


def daily_moment(now: datetime, daily_at: str) -> datetime:
    """Return the last daily moment that is not after now.

    Args:
        now: an aware time.
        daily_at: the time of day in Taipei, as HH:MM.
    """
    local = now.astimezone(TAIPEI)
    moment = datetime.combine(local.date(), time.fromisoformat(daily_at), TAIPEI)
    return moment if moment <= local else moment - timedelta(days=1)


def is_daily_due(last_scheduled: Issue | None, now: datetime, daily_at: str) -> bool:
    """Whether a scope has no scheduled CRL since the last daily moment, as one that never had any."""
    return last_scheduled is None or last_scheduled.this_update < daily_moment(now, daily_at)


def is_change_due(oldest: int | None, now: datetime, on_change: timedelta) -> bool:
    """Whether the changes of a scope have waited long enough for others to come along.

    Args:
        oldest: when the first of them was made, in microseconds since the epoch; None: there are none.
        now: an aware time.
        on_change: how long after a change its CRLs are out at the latest.
    """
    if oldest is None:
        return False
    return now.timestamp() >= oldest / 1e6 + on_change.total_seconds() * ON_CHANGE_SHARE


class PendingChanges:
    """The changes that wait for a CRL, by scope; those that were seen together count as one."""

    def __init__(self) -> None:
        self._seen: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)

    def add(self, scope_id: int, last_sequence: int, first_changed_at: int) -> None:
        """Note changes of a scope: the last sequence number, and when the first was made, in microseconds."""
        self._seen[scope_id].append((last_sequence, first_changed_at))

    def published(self, scope_id: int, feed_sequence: int) -> None:
        """Forget the changes that a published CRL has in it."""
        seen = self._seen[scope_id]
        while seen and seen[0][0] <= feed_sequence:
            seen.popleft()

    def oldest(self, scope_id: int) -> int | None:
        """When the first change that waits was made, in microseconds since the epoch."""
        seen = self._seen[scope_id]
        return seen[0][1] if seen else None
