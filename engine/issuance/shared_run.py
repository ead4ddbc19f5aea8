"""A run that several homes work off together on one record: who is still at it, and who closes it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select

from engine.clock import Clock
from engine.issuance.run_context import RunContext
from engine.store.database import Store
from engine.store.leases import Lease, give_back, take_lease
from engine.store.runs import RunState, run_state
from engine.store.schema import work_unit
from engine.store.work_units import UnitState

CLOSABLE = frozenset({RunState.RUNNING, RunState.PAUSING, RunState.ABORTING})
"""The states of a run that may be closed."""

CLOSING_TIME = timedelta(minutes=10)
"""How long a home may take to close a run before another one does it. A guess: far longer than the manifest of a
million certificates takes. The home that had begun is let in at once."""


def units_left(store: Store, clock: Clock, run_id: int, home: str, wanted: RunState) -> tuple[int, int]:
    """Count the units that a home could take, and those that other homes hold.

    Args:
        store: the open store.
        clock: tells when leases are over.
        run_id: the run.
        home: the home that asks, by its name as a holder.
        wanted: the state in which its workers take units; in another there is nothing to take.

    Returns:
        Units that are free; units that other homes hold for the time being.
    """
    over = work_unit.c.lease_until <= clock.now()
    at_work = work_unit.c.state.in_((UnitState.LEASED.value, UnitState.RESERVED.value))
    free: ColumnElement[bool] = and_(at_work, over)
    if wanted is RunState.ABORTING:
        free = and_(free, work_unit.c.state == UnitState.RESERVED.value)
    else:
        free = or_(free, work_unit.c.state == UnitState.PLANNED.value)
    others = at_work & ~over & ~work_unit.c.holder.startswith(f"{home}:", autoescape=True)
    with store.read() as connection:
        state = run_state(connection, run_id)
        counted = connection.execute(
            select(func.count().filter(free), func.count().filter(others)).where(work_unit.c.run_id == run_id)
        ).one()
    return (int(counted[0]) if state is wanted else 0), int(counted[1])


def held_elsewhere(context: RunContext, run_id: int) -> bool:
    """Whether another home has units of a run in hand."""
    _, held = units_left(context.store, context.clock, run_id, context.home.holder, RunState.RUNNING)
    return held > 0


def take_closing(context: RunContext, run_id: int) -> tuple[Lease | None, RunState]:
    """Take the lease under which a run is closed, where it still is to be closed.

    Returns:
        The lease, or None while another home has it or where there is nothing to close; and the run's state.
    """
    now = context.clock.now()
    with context.store.write() as connection:
        state = run_state(connection, run_id)
        if state not in CLOSABLE:
            return None, state
        name, until = f"run-closing/{run_id}", now + CLOSING_TIME
        return take_lease(connection, name, holder=context.home.holder, now=now, until=until), state


def end_closing(context: RunContext, lease: Lease) -> None:
    """Give the lease back: who waits for it need not wait for its end."""
    with context.store.write() as connection:
        give_back(connection, lease, context.clock.now())
