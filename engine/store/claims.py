"""Claims: asking what is taken, and giving back what was not used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, delete, func, select

from engine.store.schema import (
    card,
    card_number_claim,
    certificate_status,
    item,
    primary_card_claim,
    public_key_claim,
    reservation,
    run,
    run_reject,
    to_microseconds,
    work_unit,
)


def held_primary_cards(connection: Connection, entity_ids: Sequence[int], now: datetime) -> dict[int, int]:
    """Return entity → card for those entities that hold a primary card, or have one planned.

    A card counts until its last certificate has expired or it was released after a revocation; a suspended one
    counts (CPS 1.3.5.1).
    """
    last_day = (
        select(func.max(certificate_status.c.not_after))
        .select_from(item.join(certificate_status, certificate_status.c.item_id == item.c.id))
        .where(item.c.card_id == primary_card_claim.c.card_id)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(primary_card_claim.c.entity_id, primary_card_claim.c.card_id, last_day).where(
            primary_card_claim.c.entity_id.in_(entity_ids)
        )
    )
    limit = to_microseconds(now)
    return {entity_id: card_id for entity_id, card_id, until in rows if until is None or until >= limit}


def taken(connection: Connection, table: Table, column: str, values: Sequence[object]) -> set[object]:
    """Return those values that a claim table has already.

    Planning asks before it claims, so that the duplicate can be named in the reject report; the unique index
    still refuses what slips between.
    """
    rows = connection.execute(select(table.c[column]).where(table.c[column].in_(values)))
    return set(rows.scalars())


def release_primary_card(connection: Connection, entity_id: int, card_id: int) -> None:
    """Let the entity have another primary card: its card was revoked, or has expired."""
    connection.execute(
        delete(primary_card_claim).where(
            primary_card_claim.c.entity_id == entity_id, primary_card_claim.c.card_id == card_id
        )
    )


def release_claims_of_aborted(connection: Connection, run_id: int) -> None:
    """Give back what the aborted units of a run had claimed: keys, card numbers and primary cards.

    A card keeps its claims if any of its certificates was issued or reserved.
    """
    aborted = select(work_unit.c.id).where(work_unit.c.run_id == run_id, work_unit.c.state == "aborted")
    lost = item.join(reservation, reservation.c.item_id == item.c.id, isouter=True)
    items = (
        select(item.c.id)
        .select_from(lost)
        .where(item.c.unit_id.in_(aborted), reservation.c.item_id.is_(None))
    )
    connection.execute(delete(public_key_claim).where(public_key_claim.c.item_id.in_(items)))
    kept = (
        select(item.c.card_id)
        .join(reservation, reservation.c.item_id == item.c.id)
        .where(item.c.run_id == run_id)
    )
    cards = select(item.c.card_id).where(item.c.unit_id.in_(aborted), item.c.card_id.not_in(kept))
    connection.execute(delete(card_number_claim).where(card_number_claim.c.card_id.in_(cards)))
    connection.execute(delete(primary_card_claim).where(primary_card_claim.c.card_id.in_(cards)))


def discard_plan(connection: Connection, run_id: int) -> None:
    """Remove every trace of a plan that was never finished: its writer died, or its input broke."""
    cards = select(card.c.id).where(card.c.run_id == run_id)
    items = select(item.c.id).where(item.c.run_id == run_id)
    connection.execute(delete(public_key_claim).where(public_key_claim.c.item_id.in_(items)))
    connection.execute(delete(card_number_claim).where(card_number_claim.c.card_id.in_(cards)))
    connection.execute(delete(primary_card_claim).where(primary_card_claim.c.card_id.in_(cards)))
    for table in (item, card, work_unit, run_reject):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(run).where(run.c.id == run_id))
