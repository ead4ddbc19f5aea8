"""Runs as the record tells of them, with their rate and what is left at that rate."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row

from engine.store.runs import RunState, list_runs, totals
from responders.operator.views import RunView

SHOWN_RUNS = 12
"""A guess: the open ones, and some that were closed lately."""

RATE_SECONDS = 60.0
"""Over which the rate is taken. A guess: several work units of each worker."""

_CLOSED = {RunState.ABORTED.value, RunState.COMPLETED.value}
_ACTS: dict[str, Literal["pause", "resume"]] = {
    RunState.RUNNING.value: "pause",
    RunState.PLANNED.value: "resume",
    RunState.PAUSED.value: "resume",
}


class RunLook:
    """Looks at runs again and again, and remembers how far they were."""

    def __init__(self) -> None:
        self._paces: dict[int, deque[tuple[float, int]]] = {}
        self._closed: dict[tuple[int, str], dict[str, int]] = {}

    def runs(self, connection: Connection, at: float, notices: dict[int, str]) -> list[RunView]:
        """Return the runs, newest first: all that are open, and closed ones as far as there is room.

        Args:
            connection: a snapshot of the record.
            at: seconds of a clock that is never set.
            notices: what is to be said of runs.
        """
        rows = list(reversed(list_runs(connection)))
        still_open = [row for row in rows if row.state not in _CLOSED]
        closed = [row for row in rows if row.state in _CLOSED]
        shown = still_open + closed[: max(0, SHOWN_RUNS - len(still_open))]
        self._paces = {row.id: self._paces.get(row.id, deque()) for row in still_open}
        return [
            self._run(row, self._totals(connection, row), at, notices.get(row.id))
            for row in sorted(shown, key=lambda row: -int(row.id))
        ]

    def _totals(self, connection: Connection, row: Row[Any]) -> dict[str, int]:
        """Count; of a closed run once, for it changes only with its state."""
        key = row.id, row.state
        if row.state not in _CLOSED:
            return totals(connection, row.id)
        if key not in self._closed:
            self._closed[key] = totals(connection, row.id)
        return self._closed[key]

    def _run(self, row: Row[Any], counted: dict[str, int], at: float, notice: str | None) -> RunView:
        rate = self._rate(row, counted["issued"] + counted["failed"], at)
        return RunView(
            run=row.id,
            state=row.state,
            policy=row.policy_name,
            **counted,
            reason=row.state_reason,
            started_at=_seconds(row.started_at),
            closed_at=_seconds(row.closed_at),
            rate=rate,
            remaining_seconds=counted["pending"] / rate if rate else None,
            act=_ACTS.get(row.state),
            notice=notice,
        )

    def _rate(self, row: Row[Any], done: int, at: float) -> float | None:
        """Return certificates a second while the run runs; a pause begins a new count."""
        pace = self._paces.get(row.id)
        if pace is None:
            return None
        if row.state != RunState.RUNNING.value:
            pace.clear()
            return None
        pace.append((at, done))
        while at - pace[0][0] > RATE_SECONDS:
            pace.popleft()
        since, done_then = pace[0]
        return (done - done_then) / (at - since) if at > since else None


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
