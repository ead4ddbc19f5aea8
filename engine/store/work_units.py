"""Work units: the few hundred items that a worker leases at a time.

A lease carries a fence that grows by one each time the unit changes hands. Every write for a unit names the
fence, so a worker that was stopped for minutes and wakes up can neither overwrite nor double anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, and_, func, or_, select, update

from engine.errors import LeaseLost
from engine.store.schema import work_unit


class UnitState(Enum):
    """Where a unit stands; the value is what the database keeps."""

    PLANNED = "planned"
    LEASED = "leased"
    RESERVED = "reserved"  # its TBSs are stored: it must be completed, whatever becomes of the run
    COMPLETED = "completed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a unit."""

    unit_id: int
    run_id: int
    partition_id: int
    fence: int
    reserved: bool
    """Whether an earlier holder had reserved it: then the stored TBSs are signed, not new ones."""


def lease_next(
    connection: Connection, run_id: int, *, holder: str, now: datetime, until: datetime, reserved_only: bool
) -> Lease | None:
    """Take the next unit that nobody holds, or whose holder's time is over.

    Args:
        connection: a writing transaction.
        run_id: the run.
        holder: who takes it, unique for each process.
        now: the time against which leases are judged.
        until: when the new lease ends; from that very moment on the unit is free again.
        reserved_only: only units with stored TBSs (a run that is being aborted).

    Returns:
        The lease, or None when there is none to be had at the moment.
    """
    over = work_unit.c.lease_until <= now
    free = [and_(work_unit.c.state == UnitState.RESERVED.value, over)]
    if not reserved_only:
        free.append(work_unit.c.state == UnitState.PLANNED.value)
        free.append(and_(work_unit.c.state == UnitState.LEASED.value, over))
    row = connection.execute(
        select(work_unit)
        .where(work_unit.c.run_id == run_id, or_(*free))
        # Reserved ones first: their serials exist already and wait for their signatures.
        .order_by(work_unit.c.state.desc(), work_unit.c.id)
        .limit(1)
        .with_for_update(
            skip_locked=True
        )  # SQLite has no row locks and leaves this out: it holds the write lock
    ).one_or_none()
    if row is None:
        return None
    reserved = row.state == UnitState.RESERVED.value
    state = UnitState.RESERVED if reserved else UnitState.LEASED
    connection.execute(
        update(work_unit)
        .where(work_unit.c.id == row.id)
        .values(state=state.value, holder=holder, lease_until=until, fence=row.fence + 1)
    )
    return Lease(row.id, row.run_id, row.partition_id, row.fence + 1, reserved)


def mark_reserved(connection: Connection, lease: Lease, until: datetime) -> None:
    """Record that the unit's TBSs are stored, and prolong the lease.

    Raises:
        LeaseLost: another worker holds the unit now.
    """
    _change(connection, lease, state=UnitState.RESERVED.value, lease_until=until)


def mark_completed(connection: Connection, lease: Lease, *, issued: int, failed: int) -> None:
    """Record that every item of the unit has its outcome.

    Raises:
        LeaseLost: another worker holds the unit now.
    """
    _change(
        connection,
        lease,
        state=UnitState.COMPLETED.value,
        issued=issued,
        failed=failed,
        holder=None,
        lease_until=None,
    )


def prolong(connection: Connection, lease: Lease, until: datetime) -> None:
    """Heartbeat: keep the lease.

    Raises:
        LeaseLost: another worker holds the unit now.
    """
    _change(connection, lease, lease_until=until)


def _change(connection: Connection, lease: Lease, **values: object) -> None:
    result = connection.execute(
        update(work_unit)
        .where(
            work_unit.c.id == lease.unit_id,
            work_unit.c.fence == lease.fence,
            work_unit.c.state.in_((UnitState.LEASED.value, UnitState.RESERVED.value)),
        )
        .values(**values)
    )
    if result.rowcount != 1:
        raise LeaseLost(
            "another worker holds the work unit now; what this one did for it is discarded",
            place=f"work unit {lease.unit_id}",
            value=f"fence {lease.fence}",
        )


def release_holder(connection: Connection, run_id: int, holder_prefix: str, now: datetime) -> int:
    """End the leases of processes known to be dead, so that nobody waits for their time to run out.

    Args:
        connection: a writing transaction.
        run_id: the run.
        holder_prefix: the beginning of the holders' names.
        now: the leases end at this time.

    Returns:
        How many units became free.
    """
    result = connection.execute(
        update(work_unit)
        .where(
            work_unit.c.run_id == run_id,
            work_unit.c.holder.startswith(holder_prefix, autoescape=True),
            work_unit.c.state.in_((UnitState.LEASED.value, UnitState.RESERVED.value)),
        )
        .values(lease_until=now, holder=None)
    )
    return result.rowcount


def abort_unreserved(connection: Connection, run_id: int) -> int:
    """Mark every unit that has no stored TBS as aborted.

    Returns:
        How many units were aborted.
    """
    result = connection.execute(
        update(work_unit)
        .where(
            work_unit.c.run_id == run_id,
            work_unit.c.state.in_((UnitState.PLANNED.value, UnitState.LEASED.value)),
        )
        .values(state=UnitState.ABORTED.value, holder=None, lease_until=None)
    )
    return result.rowcount


def count_open(connection: Connection, run_id: int) -> int:
    """Count the units of a run that are neither completed nor aborted."""
    count = connection.execute(
        select(func.count())
        .select_from(work_unit)
        .where(
            work_unit.c.run_id == run_id,
            work_unit.c.state.in_(
                (UnitState.PLANNED.value, UnitState.LEASED.value, UnitState.RESERVED.value)
            ),
        )
    ).scalar_one()
    return int(count)
