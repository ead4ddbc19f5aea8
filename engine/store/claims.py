"""Claims: asking what is taken, and giving back what was not used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, delete, func, select, text, update

from engine.store.schema import (
    card,
    card_number_claim,
    certificate_status,
    crl_partition,
    entity,
    item,
    primary_card_claim,
    public_key_claim,
    reservation,
    run,
    run_reject,
    subject_claim,
    subscriber_number_claim,
    to_microseconds,
    work_unit,
)

ASKED_AT_ONCE = 500
"""Values in one question: SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535, and entities may have
many cards. A guess within both."""


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
    found: set[object] = set()
    for start in range(0, len(values), ASKED_AT_ONCE):
        part = values[start : start + ASKED_AT_ONCE]
        if connection.dialect.name == "sqlite":
            # The driver's own tuples: a parameter of SQLAlchemy's costs more than the look-up (cProfile of planning).
            places = ", ".join("?" * len(part))
            statement = f"SELECT {column} FROM {table.name} WHERE {column} IN ({places})"  # noqa: S608 - schema's names
            rows = connection.exec_driver_sql(statement, tuple(part))
        else:
            statement = f"SELECT {column} FROM {table.name} WHERE {column} = ANY(:part)"  # noqa: S608 - as above
            rows = connection.execute(text(statement), {"part": list(part)})
        found.update(rows.scalars())
    return found


def subject_holder(connection: Connection, digest: bytes) -> int | None:
    """Return the entity that a subject without a subscriber number belongs to (choice 16), None while it is free."""
    return connection.execute(
        select(subject_claim.c.entity_id).where(subject_claim.c.subject_digest == digest)
    ).scalar_one_or_none()


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
    """Remove every trace of a plan that was never finished: its writer died, or its input broke.

    Also the entities that it was the first to name, and its place in the CRL partitions; a partition that it opened
    stays, empty, for the next plan.
    """
    units = select(work_unit.c.id).where(work_unit.c.run_id == run_id)
    items = select(item.c.id).where(item.c.unit_id.in_(units))
    cards = select(card.c.id).where(card.c.run_id == run_id)
    connection.execute(delete(public_key_claim).where(public_key_claim.c.item_id.in_(items)))
    numbers = select(card.c.number).where(card.c.run_id == run_id)
    connection.execute(
        delete(card_number_claim).where(
            card_number_claim.c.number.in_(numbers), card_number_claim.c.card_id.in_(cards)
        )
    )
    connection.execute(delete(primary_card_claim).where(primary_card_claim.c.card_id.in_(cards)))
    _discard_entities(connection, run_id)
    _give_back_partitions(connection, run_id)
    connection.execute(delete(item).where(item.c.unit_id.in_(units)))
    for table in (card, work_unit, run_reject):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(run).where(run.c.id == run_id))


def _discard_entities(connection: Connection, run_id: int) -> None:
    """Remove the entities that have cards of this run only: every entity comes in with its first card."""
    other = card.alias()
    fresh = (
        select(card.c.entity_id)
        .outerjoin(other, (other.c.entity_id == card.c.entity_id) & (other.c.run_id != run_id))
        .where(card.c.run_id == run_id, other.c.id.is_(None))
    )
    connection.execute(delete(subscriber_number_claim).where(subscriber_number_claim.c.entity_id.in_(fresh)))
    connection.execute(delete(subject_claim).where(subject_claim.c.entity_id.in_(fresh)))
    connection.execute(delete(entity).where(entity.c.id.in_(fresh)))


def _give_back_partitions(connection: Connection, run_id: int) -> None:
    allotted = connection.execute(
        select(work_unit.c.partition_id, func.sum(work_unit.c.size))
        .where(work_unit.c.run_id == run_id)
        .group_by(work_unit.c.partition_id)
    ).all()
    for partition_id, count in allotted:
        connection.execute(
            update(crl_partition)
            .where(crl_partition.c.id == partition_id)
            .values(allotted=crl_partition.c.allotted - int(count))
        )
