"""Appending audit records.

A record is written in the transaction of what it records, so neither exists without the other (CPS 4.5.6): if the
record cannot be written, what it records did not happen. Each record carries a hash over itself and the hash of the
record before, so a change anywhere breaks the chain from there on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from engine.audit.events import Event
from engine.clock import Clock
from engine.errors import AuditFailed, ClockWrong
from engine.store.schema import audit_head, audit_record, to_microseconds

FIRST_PREVIOUS_HASH = hashlib.sha256(b"sealmint audit log, record 0").digest()
"""What the first record is chained to."""

HEAD = 1
"""The number of the one row of `audit_head`."""

CLOCK_TOLERANCE_MICROSECONDS = 2_000_000
"""How far the clock may stand before the newest record without stopping anything: processes read the clock before
they wait for the write lock, and a synchronised clock may be slewed. A guess."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A record as it stands in the chain."""

    sequence: int
    recorded_at: datetime
    actor: str
    event: str
    body: str
    hash: bytes


def record_hash(previous: bytes, recorded_at: datetime, actor: str, event: str, body: str) -> bytes:
    """Return the hash of a record: SHA-256 over the hash before and the canonical JSON of its content.

    The sequence number is left out on purpose: a record that was inserted or moved is then recognised as such, for
    its neighbours still fit each other.
    """
    content = orjson.dumps([to_microseconds(recorded_at), actor, event, body])
    return hashlib.sha256(previous + content).digest()


def append_record(
    connection: Connection, clock: Clock, event: Event, *, actor: str, body: Mapping[str, object]
) -> AuditRecord:
    """Append a record to the chain, in the caller's transaction.

    Args:
        connection: the writing transaction of what is recorded.
        clock: tells the time of the record.
        event: what happened.
        actor: who did it: an account, or a process with its number.
        body: the particulars; never a secret, never personal data beyond the register's public fields.

    Returns:
        The record.

    Raises:
        AuditFailed: the record could not be written; the caller's transaction must be undone.
        ClockWrong: the clock stands before the newest record.
    """
    text = orjson.dumps({"group": event.group, **body}, option=orjson.OPT_SORT_KEYS).decode()
    try:
        head = connection.execute(
            select(audit_head.c.sequence, audit_head.c.recorded_at, audit_head.c.hash)
            .where(audit_head.c.id == HEAD)
            .with_for_update()
        ).one_or_none()
        now = clock.now()
        if head is None:
            sequence, previous = 1, FIRST_PREVIOUS_HASH
        else:
            sequence, previous = head.sequence + 1, head.hash
            now = _not_before(now, head.recorded_at)
        record = AuditRecord(
            sequence,
            now,
            actor,
            event.record_name,
            text,
            record_hash(previous, now, actor, event.record_name, text),
        )
        connection.execute(
            insert(audit_record).values(
                sequence=record.sequence,
                recorded_at=record.recorded_at,
                actor=record.actor,
                event=record.event,
                body=record.body,
                hash=record.hash,
            )
        )
        _move_head(connection, record)
    except DBAPIError as error:
        raise AuditFailed(
            "the audit record could not be written, so what it records did not happen",
            place="audit_record",
            value=str(error.orig),
            rule="CPS 4.5.6",
        ) from error
    return record


def _not_before(now: datetime, newest: datetime) -> datetime:
    if to_microseconds(newest) - to_microseconds(now) > CLOCK_TOLERANCE_MICROSECONDS:
        raise ClockWrong(
            "the clock stands before the newest audit record; set the clock",
            place="clock",
            value=now.isoformat(),
            rule=f"not before {newest.isoformat()}",
        )
    return max(now, newest)


def _move_head(connection: Connection, record: AuditRecord) -> None:
    values = {"sequence": record.sequence, "recorded_at": record.recorded_at, "hash": record.hash}
    if record.sequence == 1:
        connection.execute(insert(audit_head).values(id=HEAD, **values))
    else:
        connection.execute(update(audit_head).where(audit_head.c.id == HEAD).values(**values))


def newest_record_time(connection: Connection) -> datetime | None:
    """Return the time of the newest record, or None while there is none."""
    return connection.execute(
        select(audit_head.c.recorded_at).where(audit_head.c.id == HEAD)
    ).scalar_one_or_none()


def check_clock(connection: Connection, clock: Clock) -> None:
    """Prove at the start of a process that the clock is not before the newest record.

    Raises:
        ClockWrong: it is.
    """
    newest = newest_record_time(connection)
    if newest is not None:
        _not_before(clock.now(), newest)
