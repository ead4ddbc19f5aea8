"""Trying failed items again: failed ones only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection, Row, insert, select, update

from engine.store.plans import next_id
from engine.store.schema import EPOCH, item, item_failure, reservation, work_unit
from engine.store.work_units import UnitState


def retry_failed(connection: Connection, run_id: int, unit_size: int) -> list[int]:
    """Put the failed items of a run into new work units.

    An item whose TBS was reserved keeps it: the stored TBS is signed again, so no second serial is made. Such items
    get units of their own, reserved from the start, which are completed even if the run is aborted.

    Args:
        connection: a writing transaction.
        run_id: the run; none of its units is in work.
        unit_size: the most items a new unit takes.

    Returns:
        The new units' row numbers.
    """
    failed = connection.execute(
        select(
            item_failure.c.item_id,
            work_unit.c.id,
            work_unit.c.partition_id,
            reservation.c.item_id.is_not(None).label("is_reserved"),
        )
        .join(work_unit, work_unit.c.id == item_failure.c.unit_id)
        .outerjoin(reservation, reservation.c.item_id == item_failure.c.item_id)
        .where(work_unit.c.run_id == run_id, item_failure.c.resolved_by_unit.is_(None))
        .order_by(work_unit.c.partition_id, "is_reserved", item_failure.c.item_id)
    ).all()
    units: list[int] = []
    for (partition_id, is_reserved), group in groupby(
        failed, lambda row: (row.partition_id, row.is_reserved)
    ):
        rows = list(group)
        state = UnitState.RESERVED if is_reserved else UnitState.PLANNED
        units += [
            _retry_unit(connection, run_id, partition_id, state, rows[start : start + unit_size])
            for start in range(0, len(rows), unit_size)
        ]
    return units


def _retry_unit(
    connection: Connection,
    run_id: int,
    partition_id: int,
    state: UnitState,
    rows: Sequence[Row[int, int, int, bool]],
) -> int:
    unit_id = next_id(connection, work_unit)
    connection.execute(
        insert(work_unit).values(
            id=unit_id,
            run_id=run_id,
            partition_id=partition_id,
            state=state.value,
            size=len(rows),
            lease_until=EPOCH,
        )
    )
    for row in rows:
        connection.execute(update(item).where(item.c.id == row.item_id).values(unit_id=unit_id))
        connection.execute(
            update(item_failure)
            .where(item_failure.c.item_id == row.item_id, item_failure.c.resolved_by_unit.is_(None))
            .values(resolved_by_unit=unit_id)
        )
        connection.execute(
            update(work_unit)
            .where(work_unit.c.id == row.id)
            .values(size=work_unit.c.size - 1, failed=work_unit.c.failed - 1)
        )
    return unit_id
