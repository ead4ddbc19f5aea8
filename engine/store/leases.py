"""Leases: one holder of a name over all hosts, for as long as it renews.

A lease carries a fence that grows with every change of hands. What the holder commits names its fence, so one that was
stopped for minutes and wakes up changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from engine.errors import LeaseLost
from engine.store.schema import lease


@dataclass(frozen=True, slots=True)
class Lease:
    """A hold on a name."""

    name: str
    holder: str
    fence: int


def take_lease(
    connection: Connection, name: str, *, holder: str, now: datetime, until: datetime
) -> Lease | None:
    """Take a lease, or lengthen one's own.

    Args:
        connection: a writing transaction.
        name: what is leased, such as `crl/3` or `pre-signing`.
        holder: who takes it: a process, or a home of a host where a lock lets only one of its processes ask.
        now: the time against which the old lease is judged.
        until: when the lease ends; from that very moment on it is free.

    Returns:
        The lease, or None while another holds it.
    """
    row = connection.execute(select(lease).where(lease.c.name == name).with_for_update()).one_or_none()
    if row is None:
        connection.execute(insert(lease).values(name=name, holder=holder, fence=1, until=until))
        return Lease(name, holder, 1)
    mine = row.holder == holder
    if not mine and row.until > now:
        return None
    fence = row.fence if mine else row.fence + 1
    connection.execute(
        update(lease).where(lease.c.name == name).values(holder=holder, fence=fence, until=until)
    )
    return Lease(name, holder, fence)


def check_lease(connection: Connection, held: Lease) -> None:
    """Make sure, in the transaction that stores the result, that the lease was not taken by another.

    Raises:
        LeaseLost: another holds it now; the transaction must be undone.
    """
    fence = connection.execute(
        select(lease.c.fence).where(lease.c.name == held.name).with_for_update()
    ).scalar_one_or_none()
    if fence != held.fence:
        raise LeaseLost("another process holds this now", place=f"lease {held.name}", value=fence)


def give_back(connection: Connection, held: Lease, now: datetime) -> None:
    """End a lease at once; nothing happens if another holds it already."""
    connection.execute(
        update(lease).where(lease.c.name == held.name, lease.c.fence == held.fence).values(until=now)
    )
