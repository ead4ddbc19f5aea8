"""Certificates that nobody accepted, for the 18-month rule (CPS 4.4.5(4), (5))."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Select, exists, or_, select

from engine.store.runs import RunState
from engine.store.schema import (
    CertificateState,
    acceptance,
    certificate_status,
    hold,
    item,
    reservation,
    run,
    to_microseconds,
)

_DIRECT, _APPLICATION = "direct", "application"
_CLOSED = (RunState.COMPLETED.value, RunState.ABORTED.value)


class Unaccepted(NamedTuple):
    """A certificate that may be overdue: its run is, or it must be asked itself."""

    item_id: int
    serial: bytes
    counts_alone: bool
    """Whether its own issuance counts, and not its run's last certificate."""


def runs_in_question(connection: Connection, cutoff: datetime) -> list[int]:
    """Return the runs whose certificates may be overdue.

    Args:
        connection: a snapshot.
        cutoff: direct issuance counts from the run's last certificate, once the run is closed; it is overdue if that
            was before this time. A run on applications is always in question.
    """
    direct = (
        (run.c.issuance_mode == _DIRECT) & run.c.state.in_(_CLOSED) & (run.c.last_certificate_at < cutoff)
    )
    return list(
        connection.execute(
            select(run.c.id).where(or_(direct, run.c.issuance_mode == _APPLICATION)).order_by(run.c.id)
        ).scalars()
    )


def unaccepted_certificates(
    connection: Connection, runs: list[int], *, origin: str, now: datetime, after_item: int, limit: int
) -> list[Unaccepted]:
    """Return certificates of some runs that are neither accepted nor revoked nor expired, in the order of the items.

    Args:
        connection: a snapshot.
        runs: the runs.
        origin: of the holds that the rule places; a certificate that ever had one is left out.
        now: what expires before is left out.
        after_item: the last item of the batch before, 0 at first.
        limit: the size of the batch.
    """
    rows = connection.execute(_unaccepted(runs, origin, now).where(item.c.id > after_item).limit(limit))
    return [Unaccepted(row.id, row.serial, row.issuance_mode == _APPLICATION) for row in rows]


def _unaccepted(runs: list[int], origin: str, now: datetime) -> Select[tuple[int, bytes, str]]:
    return (
        select(item.c.id, reservation.c.serial, run.c.issuance_mode)
        .join(run, run.c.id == item.c.run_id)
        .join(certificate_status, certificate_status.c.item_id == item.c.id)
        .join(reservation, reservation.c.item_id == item.c.id)
        .where(
            item.c.run_id.in_(runs),
            certificate_status.c.state != CertificateState.REVOKED,
            certificate_status.c.not_after >= to_microseconds(now),
            ~exists().where(acceptance.c.item_id == item.c.id),
            ~exists().where(hold.c.item_id == item.c.id, hold.c.origin == origin),
        )
        .order_by(item.c.id)
    )
