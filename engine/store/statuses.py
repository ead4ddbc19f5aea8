"""Statuses: what a serial, a card number or a 統一編號 names, and all that decides what may be done to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from engine.kinds import Kind
from engine.store.bulk_select import ASKED_AT_ONCE
from engine.store.schema import (
    acceptance,
    card,
    card_number_claim,
    certificate_status,
    crl_entry,
    entity,
    hold,
    item,
    reservation,
    serial_claim,
)
from engine.store.standings import Standing

_KINDS = [kind.value for kind in Kind]
"""Named in every question for a 統一編號, because the index begins with the kind."""


def items_of_serials(connection: Connection, serials: Sequence[str]) -> dict[str, list[int]]:
    """Return the item of each certificate serial (upper-case hexadecimal) that was ever claimed."""
    octets = [bytes.fromhex(serial) for serial in serials]
    rows = asked(
        connection,
        octets,
        lambda part: select(serial_claim.c.serial, serial_claim.c.item_id).where(
            serial_claim.c.serial.in_(part)
        ),
    )
    return {serial.hex().upper(): [item_id] for serial, item_id in rows}


def items_of_cards(connection: Connection, numbers: Sequence[str]) -> dict[str, list[int]]:
    """Return the items of each card number, in the order of their numbers."""
    return _grouped(
        connection,
        numbers,
        lambda part: (
            select(card_number_claim.c.number, item.c.id)
            .join(item, item.c.card_id == card_number_claim.c.card_id)
            .where(card_number_claim.c.number.in_(part))
        ),
    )


def items_of_entities(connection: Connection, identifiers: Sequence[str]) -> dict[str, list[int]]:
    """Return the items of each 統一編號: those of every entity that has it, of whatever kind."""
    return _grouped(
        connection,
        identifiers,
        lambda part: (
            select(entity.c.identifier, item.c.id)
            .join(card, card.c.entity_id == entity.c.id)
            .join(item, item.c.card_id == card.c.id)
            .where(entity.c.kind.in_(_KINDS), entity.c.identifier.in_(part))
        ),
    )


def _grouped(
    connection: Connection, subjects: Sequence[str], question: Callable[[Sequence[Any]], Select[Any]]
) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for subject, item_id in asked(connection, subjects, question):
        found[subject].append(item_id)
    return {subject: sorted(items) for subject, items in found.items()}


def asked(
    connection: Connection, values: Sequence[Any], question: Callable[[Sequence[Any]], Select[Any]]
) -> Iterator[Any]:
    """Ask about many values, a bounded number at a time; yield every row."""
    for start in range(0, len(values), ASKED_AT_ONCE):
        yield from connection.execute(question(values[start : start + ASKED_AT_ONCE]))


class StoredHold(NamedTuple):
    """A hold that was placed on a certificate; it stands while `lifted_at` is None."""

    id: int
    origin: str
    on_behalf_of: str
    placed_at: datetime
    lifted_at: datetime | None


@dataclass(slots=True)
class StoredStatus:
    """All that decides what may be done to an issued certificate."""

    standing: Standing
    kind: str
    """A Kind."""
    accepted_at: datetime | None = None
    holds: list[StoredHold] = field(default_factory=list)
    """Every one ever placed, oldest first."""


def lock_statuses(connection: Connection, item_ids: Sequence[int]) -> None:
    """Keep other acts away from certificates until the transaction ends; on SQLite it has kept them away already.

    Args:
        connection: a writing transaction.
        item_ids: in ascending order, so that two acts never wait for each other in a circle.
    """
    if connection.dialect.name == "sqlite":
        return
    for _ in asked(
        connection,
        item_ids,
        lambda part: (
            select(certificate_status.c.item_id)
            .where(certificate_status.c.item_id.in_(part))
            .order_by(certificate_status.c.item_id)
            .with_for_update()
        ),
    ):
        pass


def statuses_of_items(connection: Connection, item_ids: Sequence[int]) -> dict[int, StoredStatus]:
    """Return the status of those items that are issued certificates, in the order of the items.

    Args:
        connection: a snapshot, or a writing transaction that holds their locks.
        item_ids: the items, in ascending order.
    """
    found = {
        standing[0]: StoredStatus(Standing(*standing), kind, accepted_at)
        for *standing, kind, accepted_at in asked(connection, item_ids, _statuses)
    }
    for item_id, *values in asked(connection, item_ids, _holds):
        found[item_id].holds.append(StoredHold(*values))
    return found


def _statuses(item_ids: Sequence[int]) -> Select[Any]:
    return (
        select(
            item.c.id,
            item.c.card_id,
            certificate_status.c.partition_id,
            reservation.c.serial,
            certificate_status.c.not_after,
            certificate_status.c.state,
            crl_entry.c.since,
            crl_entry.c.reason,
            card.c.kind,
            acceptance.c.accepted_at,
        )
        .select_from(item)
        .join(certificate_status, certificate_status.c.item_id == item.c.id)
        .join(reservation, reservation.c.item_id == item.c.id)
        .join(card, card.c.id == item.c.card_id)
        .outerjoin(acceptance, acceptance.c.item_id == item.c.id)
        .outerjoin(
            crl_entry,
            (crl_entry.c.partition_id == certificate_status.c.partition_id)
            & (crl_entry.c.item_id == item.c.id),
        )
        .where(item.c.id.in_(item_ids))
        .order_by(item.c.id)
    )


def _holds(item_ids: Sequence[int]) -> Select[Any]:
    return (
        select(
            hold.c.item_id, hold.c.id, hold.c.origin, hold.c.on_behalf_of, hold.c.placed_at, hold.c.lifted_at
        )
        .where(hold.c.item_id.in_(item_ids))
        .order_by(hold.c.id)
    )
