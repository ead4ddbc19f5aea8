"""Certificates that were accepted and so may be published (CPS 4.3.1), with what a certificate is put together from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from engine.store.bulk_select import rows_of
from engine.store.schema import status_change
from engine.store.status_changes import ChangeKind, StatusChange


class AcceptedItem(NamedTuple):
    """A certificate's two halves, and when it was accepted."""

    item_id: int
    accepted_at: int
    """Microseconds since the epoch."""
    tbs: bytes
    signature: bytes


_ACCEPTED = """
    SELECT acceptance.item_id, acceptance.accepted_at, reservation.tbs, signature.signature
    FROM acceptance
        JOIN reservation ON reservation.item_id = acceptance.item_id
        JOIN signature ON signature.item_id = acceptance.item_id
    WHERE {which}
    ORDER BY acceptance.item_id
"""


def accepted_in_range(connection: Connection, after_item: int, limit: int) -> list[AcceptedItem]:
    """Return the accepted certificates whose item numbers come next, in their order.

    Args:
        connection: a snapshot.
        after_item: the last item of the page before, 0 at first.
        limit: at most so many.
    """
    statement = text(_ACCEPTED.format(which="acceptance.item_id > :after") + " LIMIT :most")
    rows = connection.execute(statement, {"after": after_item, "most": limit})
    return [AcceptedItem(*row) for row in rows]


def accepted_items(connection: Connection, item_ids: Sequence[int]) -> list[AcceptedItem]:
    """Return those of the items that are accepted, in the order of their numbers."""
    statement = _ACCEPTED.format(which="acceptance.item_id IN ({places})")
    return [AcceptedItem(*row) for row in rows_of(connection, statement, sorted(set(item_ids)))]


def acceptances_after(connection: Connection, sequence: int, until: int, limit: int) -> list[StatusChange]:
    """Return the entries of the change feed in the range (sequence, until] that are acceptances, oldest first."""
    rows = connection.execute(
        status_change.select()
        .where(
            status_change.c.sequence > sequence,
            status_change.c.sequence <= until,
            status_change.c.kind == int(ChangeKind.ACCEPTED),
        )
        .order_by(status_change.c.sequence)
        .limit(limit)
    )
    return [StatusChange(*row) for row in rows]
