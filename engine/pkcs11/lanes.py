"""Lanes, and the seam for the arbiter that shares a token among all processes that sign.

Before every chunk the pool asks the arbiter how many calls it may have in flight. Here the answer is given within the
process; an arbiter per token over all processes answers the same question later.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from engine.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from collections.abc import Callable


class Lane(IntEnum):
    """Who goes first; the smaller number does."""

    URGENT = 0
    BULK = 1


class Arbiter(Protocol):
    """Decides how many calls to the token this process may have in flight."""

    def calls_allowed(self, lane: Lane) -> int:
        """Return below how many calls in flight, of all lanes together, a chunk of this lane may begin.

        Asked in the event loop before every chunk, so it must not block.
        """
        ...

    def when_changed(self, notify: Callable[[], None]) -> None:
        """Remember whom to call, in the event loop, whenever an answer may have become larger."""
        ...


class InProcessArbiter:
    """An arbiter that knows this process only.

    Args:
        limit: calls in flight at most; None = as many as the pool has sessions.
        kept_for_urgent: how many of these bulk chunks may not use.

    Raises:
        ConfigurationInvalid: nothing would be left for one of the lanes.
    """

    def __init__(self, limit: int | None = None, kept_for_urgent: int = 0) -> None:
        self._notified: list[Callable[[], None]] = []
        self._kept_for_urgent = kept_for_urgent
        self.set_limit(limit)

    def set_limit(self, limit: int | None) -> None:
        """Change the limit; chunks that run are not stopped."""
        if limit is not None and not 0 <= self._kept_for_urgent < limit:
            rule = "at least one call is left for the bulk lane"
            value = f"{self._kept_for_urgent} of {limit}"
            raise ConfigurationInvalid("too many calls are kept for the urgent lane", value=value, rule=rule)
        self._limit = limit
        for notify in self._notified:
            notify()

    def calls_allowed(self, lane: Lane) -> int:
        """See `Arbiter`."""
        if self._limit is None:
            return 2**31  # more than sessions there can be
        return self._limit - (self._kept_for_urgent if lane is Lane.BULK else 0)

    def when_changed(self, notify: Callable[[], None]) -> None:
        """See `Arbiter`."""
        self._notified.append(notify)
