"""Runs: their states, their totals and their rejects."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from engine.errors import InputRejected, RunStateConflict
from engine.store.schema import item_failure, run, run_reject, work_unit


class RunState(Enum):
    """Where a run stands; the value is what the database keeps."""

    PLANNING = "planning"  # its plan is being written; never startable; undone when found abandoned
    PLANNED = "planned"
    RUNNING = "running"
    PAUSING = "pausing"  # asked to pause: units in hand are finished, no new one is leased
    PAUSED = "paused"
    ABORTING = "aborting"  # asked to abort: what is reserved is completed first
    ABORTED = "aborted"
    COMPLETED = "completed"


def get_run(connection: Connection, run_id: int) -> Row[Any]:
    """Return the row of a run.

    Raises:
        InputRejected: there is no such run.
    """
    row = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise InputRejected(
            "there is no such run", place="run", value=run_id, rule="see: sealmint run status"
        )
    return row


def list_runs(connection: Connection) -> list[Row[Any]]:
    """Return every run, oldest first."""
    return list(connection.execute(select(run).order_by(run.c.id)))


def run_state(connection: Connection, run_id: int) -> RunState:
    """Return the state of a run.

    Raises:
        InputRejected: there is no such run.
    """
    state = connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar_one_or_none()
    if state is None:
        raise InputRejected(
            "there is no such run", place="run", value=run_id, rule="see: sealmint run status"
        )
    return RunState(state)


def change_state(
    connection: Connection,
    run_id: int,
    to: RunState,
    *,
    allowed: frozenset[RunState],
    reason: str | None = None,
    **columns: Any,
) -> RunState:
    """Move a run to another state.

    Args:
        connection: a writing transaction.
        run_id: the run.
        to: the new state.
        allowed: the states it may be in now.
        reason: why, for a person; replaces the earlier reason.
        columns: further columns of the run to set.

    Returns:
        The state before.

    Raises:
        InputRejected: there is no such run.
        RunStateConflict: the run is in another state.
    """
    before = run_state(connection, run_id)
    if before not in allowed:
        raise RunStateConflict(
            f"run {run_id} is {before.value}; this needs it to be "
            + " or ".join(sorted(state.value for state in allowed)),
            place=f"run {run_id}",
        )
    connection.execute(
        update(run).where(run.c.id == run_id).values(state=to.value, state_reason=reason, **columns)
    )
    return before


def totals(connection: Connection, run_id: int) -> dict[str, int]:
    """Count a run's items; the four parts add up to `items` by construction of the units.

    Returns:
        `items`, `issued`, `failed`, `aborted`, `pending`.
    """
    aborted = func.sum(work_unit.c.size - work_unit.c.issued - work_unit.c.failed).filter(
        work_unit.c.state == "aborted"
    )
    row = connection.execute(
        select(
            func.coalesce(func.sum(work_unit.c.size), 0),
            func.coalesce(func.sum(work_unit.c.issued), 0),
            func.coalesce(func.sum(work_unit.c.failed), 0),
            func.coalesce(aborted, 0),
        ).where(work_unit.c.run_id == run_id)
    ).one()
    items, issued, failed, aborted_items = (int(number) for number in row)
    return {
        "items": items,
        "issued": issued,
        "failed": failed,
        "aborted": aborted_items,
        "pending": items - issued - failed - aborted_items,
    }


def rejects(connection: Connection, run_id: int) -> Iterator[Row[Any]]:
    """Yield a run's reject report, register rows first, in the order of their row numbers."""
    yield from connection.execute(
        select(run_reject)
        .where(run_reject.c.run_id == run_id)
        .order_by(run_reject.c.source.desc(), run_reject.c.row_number, run_reject.c.id),
        execution_options={"yield_per": 1_000},
    )


def reject_reasons(connection: Connection, run_id: int) -> dict[str, int]:
    """Count a run's rejected register rows by reason."""
    rows = connection.execute(
        select(run_reject.c.reason, func.count())
        .where(run_reject.c.run_id == run_id, run_reject.c.source == "register")
        .group_by(run_reject.c.reason)
        .order_by(run_reject.c.reason)
    )
    return {reason: int(count) for reason, count in rows}


def failures(connection: Connection, run_id: int) -> list[Row[Any]]:
    """Return the failures of a run that no later unit has taken up."""
    return list(
        connection.execute(
            select(item_failure)
            .join(work_unit, work_unit.c.id == item_failure.c.unit_id)
            .where(work_unit.c.run_id == run_id, item_failure.c.resolved_by_unit.is_(None))
            .order_by(item_failure.c.item_id)
        )
    )
