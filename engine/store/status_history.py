"""The history of certificates: which acts touched them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, union

from engine.store.bulk_select import ASKED_AT_ONCE
from engine.store.schema import acceptance, hold, revocation, status_act


class StoredAct(NamedTuple):
    """An act, and those of the certificates asked about that it touched."""

    act_id: int
    verb: str
    origin: str
    on_behalf_of: str
    scope: str
    subject: str
    ground: str
    document: str | None
    actor: str
    performed_at: datetime
    items: tuple[int, ...]


def acts_on_items(connection: Connection, item_ids: Sequence[int]) -> list[StoredAct]:
    """Return every act that touched one of some certificates, oldest first.

    Args:
        connection: a snapshot.
        item_ids: the items of one card or one certificate; at most `ASKED_AT_ONCE`.

    Raises:
        ValueError: more items than one question can take.
    """
    if len(item_ids) > ASKED_AT_ONCE:
        raise ValueError(f"{len(item_ids)} items in one question; at most {ASKED_AT_ONCE}")
    touched = union(
        select(hold.c.item_id, hold.c.placed_by_act.label("act_id")).where(hold.c.item_id.in_(item_ids)),
        select(hold.c.item_id, hold.c.lifted_by_act).where(
            hold.c.item_id.in_(item_ids), hold.c.lifted_by_act.is_not(None)
        ),
        select(revocation.c.item_id, revocation.c.act_id).where(revocation.c.item_id.in_(item_ids)),
        select(acceptance.c.item_id, acceptance.c.act_id).where(acceptance.c.item_id.in_(item_ids)),
    ).subquery()
    items: dict[int, list[int]] = {}
    for item_id, act_id in connection.execute(select(touched.c.item_id, touched.c.act_id)):
        items.setdefault(act_id, []).append(item_id)
    rows = connection.execute(
        select(status_act).where(status_act.c.id.in_(select(touched.c.act_id))).order_by(status_act.c.id)
    )
    return [StoredAct._make((*row, tuple(sorted(items[row.id])))) for row in rows]
