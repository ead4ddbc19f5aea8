"""Certificates: two appends on the way in, put together on the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, insert, select, text, update

from engine.kinds import Kind
from engine.store.bulk_append import append
from engine.store.schema import (
    STATUS_GOOD,
    card,
    certificate_status,
    crl_partition,
    entity,
    item,
    item_failure,
    reservation,
    serial_claim,
    signature,
)


class PlannedItem(NamedTuple):
    """An item with what its TBS needs and, if it was reserved before, the stored TBS."""

    item_id: int
    usage: str
    kind: str
    rank: str
    carrier: str
    subject: bytes
    uniform_number: str | None
    public_key: bytes
    tbs: bytes | None
    not_after: int | None


class Reserved(NamedTuple):
    """A TBS about to be stored: committed before the token sees it."""

    item_id: int
    serial: bytes
    not_after: int
    tbs: bytes


_UNIT_ITEMS = text("""
    SELECT item.id, item.usage, card.kind, card.rank, card.carrier, card.subject, card.uniform_number,
           item.public_key, reservation.tbs, reservation.not_after
    FROM item JOIN card ON card.id = item.card_id
        LEFT JOIN reservation ON reservation.item_id = item.id
        LEFT JOIN signature ON signature.item_id = item.id
    WHERE item.unit_id = :unit_id AND signature.item_id IS NULL
    ORDER BY item.id
""")
"""Textual, for the driver's own tuples: typed columns cost twice as much a row (bench.issuance, step "read")."""


def unit_items(connection: Connection, unit_id: int) -> list[PlannedItem]:
    """Return the items of a work unit that have no signature yet, in the order of their numbers."""
    return [PlannedItem._make(row) for row in connection.execute(_UNIT_ITEMS, {"unit_id": unit_id})]


def reserve(connection: Connection, reserved: Sequence[Reserved]) -> None:
    """Append TBSs and claim their serials.

    Raises:
        IntegrityError: a serial exists already (SQLAlchemy's own; the whole transaction is undone).
    """
    # Sorted, so that neighbours in the index are written together.
    append(connection, serial_claim, ("serial", "item_id"), sorted((r.serial, r.item_id) for r in reserved))
    append(
        connection,
        reservation,
        ("item_id", "serial", "not_after", "tbs"),
        [(r.item_id, r.serial, r.not_after, r.tbs) for r in reserved],
    )


class Signed(NamedTuple):
    """A signature about to be stored, verified with the CA key."""

    item_id: int
    not_after: int
    signature: bytes


def complete(connection: Connection, partition_id: int, signed: Sequence[Signed]) -> None:
    """Append signatures with their status rows, and count them in their CRL partition.

    Args:
        connection: a writing transaction that holds the unit's fence, so no signature can be there already.
        partition_id: the unit's CRL partition.
        signed: the signatures; the TBS of each is reserved.
    """
    append(connection, signature, ("item_id", "signature"), [(s.item_id, s.signature) for s in signed])
    append(
        connection,
        certificate_status,
        ("item_id", "partition_id", "not_after", "state"),
        [(s.item_id, partition_id, s.not_after, STATUS_GOOD) for s in signed],
    )
    connection.execute(
        update(crl_partition)
        .where(crl_partition.c.id == partition_id)
        .values(issued=crl_partition.c.issued + len(signed))
    )


def record_failures(
    connection: Connection, unit_id: int, failed: Sequence[tuple[int, str]], failed_at: datetime
) -> None:
    """Append why items have no certificate; `sealmint run retry` takes them up again."""
    if failed:
        connection.execute(
            insert(item_failure),
            [
                {"item_id": item_id, "unit_id": unit_id, "reason": reason, "failed_at": failed_at}
                for item_id, reason in failed
            ],
        )


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate's two halves and whose it is."""

    item_id: int
    serial: bytes
    tbs: bytes
    signature: bytes
    usage: str
    card_number: str
    kind: str
    identifier: str
    name: str
    run_id: int


def _certificates() -> Select[Any]:
    return (
        select(
            item.c.id,
            reservation.c.serial,
            reservation.c.tbs,
            signature.c.signature,
            item.c.usage,
            card.c.number,
            entity.c.kind,
            entity.c.identifier,
            entity.c.name,
            item.c.run_id,
        )
        .select_from(signature)
        .join(reservation, reservation.c.item_id == signature.c.item_id)
        .join(item, item.c.id == signature.c.item_id)
        .join(card, card.c.id == item.c.card_id)
        .join(entity, entity.c.id == card.c.entity_id)
    )


def certificate_by_serial(connection: Connection, serial: bytes) -> StoredCertificate | None:
    """Return the certificate of a serial, or None where no certificate of that serial was completed."""
    claimed = select(serial_claim.c.item_id).where(serial_claim.c.serial == serial).scalar_subquery()
    row = connection.execute(_certificates().where(signature.c.item_id == claimed)).one_or_none()
    return None if row is None else StoredCertificate(*row)


def certificates_of_entity(connection: Connection, identifier: str) -> list[StoredCertificate]:
    """Return the certificates of every entity that has this 統一編號, oldest first."""
    # The kinds are named because the index begins with them.
    whose = entity.c.kind.in_([kind.value for kind in Kind]) & (entity.c.identifier == identifier)
    rows = connection.execute(_certificates().where(whose).order_by(item.c.id))
    return [StoredCertificate(*row) for row in rows]


def certificates_of_name(connection: Connection, name: str, limit: int) -> list[StoredCertificate]:
    """Return the certificates of every entity whose name is exactly this one, oldest first, at most so many."""
    # All of the name first and only then the oldest: asked for the oldest few of a name at once, PostgreSQL walks
    # through the items from the first one on until it has met enough of that name.
    named = (
        select(item.c.id)
        .join(card, card.c.id == item.c.card_id)
        .join(entity, entity.c.id == card.c.entity_id)
    )
    items = sorted(connection.execute(named.where(entity.c.name == name)).scalars())[:limit]
    rows = connection.execute(_certificates().where(item.c.id.in_(items)).order_by(item.c.id))
    return [StoredCertificate(*row) for row in rows]


EXPORT_BATCH = 1_000
"""Certificates read in one snapshot while exporting: about 2 MB. A guess; keeps snapshots short."""


def certificates_of_run(connection: Connection, run_id: int, after_item: int) -> list[StoredCertificate]:
    """Return the next batch of a run's certificates in the order of their items.

    Args:
        connection: a snapshot.
        run_id: the run.
        after_item: the last item of the batch before, 0 at first.
    """
    rows = connection.execute(
        _certificates()
        .where(item.c.run_id == run_id, item.c.id > after_item)
        .order_by(item.c.id)
        .limit(EXPORT_BATCH)
    )
    return [StoredCertificate(*row) for row in rows]
