"""The change feed: what happened to status, gapless and in the order of the commits.

Whoever keeps a copy of the status (a responder host) reads on from where it stopped. An entry says only where to
look; the reader takes what stands there now, so reading an entry twice, or late, does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from engine.store.bulk_append import append
from engine.store.schema import status_change, status_change_head, status_reader, to_microseconds

HEAD = 1


class ChangeKind(IntEnum):
    """What an entry's subject is, and so what happened to it."""

    STATUS = 1  # item: its certificate is held, resumed or revoked
    ISSUED = 2  # work unit: its certificates exist now
    ANSWERED = 3  # OCSP batch: its answers are signed
    ACCEPTED = 4  # item: its certificate was accepted and may be published (CPS 4.3.1)


class StatusChange(NamedTuple):
    """An entry of the feed."""

    sequence: int
    kind: int
    subject: int
    changed_at: int
    """Microseconds since the epoch."""


def append_changes(
    connection: Connection, kind: ChangeKind, subjects: Sequence[int], changed_at: datetime
) -> int:
    """Append entries, in the transaction that makes the change.

    Args:
        connection: a writing transaction.
        kind: what the subjects are.
        subjects: one entry for each.
        changed_at: when.

    Returns:
        The last sequence number of the feed now.
    """
    # The head's row stays locked until the commit: so the numbers grow in the order of the commits, and a reader that
    # has seen one number will never find a smaller one later.
    last = connection.execute(
        select(status_change_head.c.sequence).where(status_change_head.c.id == HEAD).with_for_update()
    ).scalar_one_or_none()
    if last is None:
        last = 0
        connection.execute(insert(status_change_head).values(id=HEAD, sequence=0))
    moment = to_microseconds(changed_at)
    append(
        connection,
        status_change,
        ("sequence", "kind", "subject", "changed_at"),
        [(last + place, int(kind), subject, moment) for place, subject in enumerate(subjects, 1)],
    )
    last += len(subjects)
    connection.execute(
        update(status_change_head).where(status_change_head.c.id == HEAD).values(sequence=last)
    )
    return last


def changes_after(connection: Connection, sequence: int, limit: int) -> list[StatusChange]:
    """Return the entries after a sequence number, oldest first."""
    rows = connection.execute(
        select(status_change)
        .where(status_change.c.sequence > sequence)
        .order_by(status_change.c.sequence)
        .limit(limit)
    )
    return [StatusChange(*row) for row in rows]


def last_change(connection: Connection) -> int:
    """Return the last sequence number of the feed; 0 while it is empty."""
    return (
        connection.execute(
            select(status_change_head.c.sequence).where(status_change_head.c.id == HEAD)
        ).scalar_one_or_none()
        or 0
    )


def reader_position(connection: Connection, name: str) -> int:
    """Return how far a reader that keeps its results in this store has come; 0 if it never read."""
    return (
        connection.execute(
            select(status_reader.c.sequence).where(status_reader.c.name == name)
        ).scalar_one_or_none()
        or 0
    )


def move_reader(connection: Connection, name: str, sequence: int) -> None:
    """Note how far a reader has come, in the transaction that stores what it made of it."""
    moved = connection.execute(
        update(status_reader).where(status_reader.c.name == name).values(sequence=sequence)
    )
    if moved.rowcount == 0:
        connection.execute(insert(status_reader).values(name=name, sequence=sequence))
