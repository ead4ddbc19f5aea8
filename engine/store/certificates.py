"""Certificates: two appends on the way in, put together on the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

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


@dataclass(frozen=True, slots=True)
class PlannedItem:
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


@dataclass(frozen=True, slots=True)
class Reserved:
    """A TBS about to be stored: committed before the token sees it."""

    item_id: int
    serial: bytes
    not_after: int
    tbs: bytes


_UNIT_ITEMS: Select[Any] = (
    select(
        item.c.id,
        item.c.usage,
        card.c.kind,
        card.c.rank,
        card.c.carrier,
        card.c.subject,
        card.c.uniform_number,
        item.c.public_key,
        reservation.c.tbs,
        reservation.c.not_after,
    )
    .select_from(
        item.join(card, card.c.id == item.c.card_id).outerjoin(
            reservation, reservation.c.item_id == item.c.id
        )
    )
    .where(item.c.unit_id == bindparam("unit_id"))
    .order_by(item.c.id)
)


def unit_items(connection: Connection, unit_id: int) -> list[PlannedItem]:
    """Return the items of a work unit that have no signature yet, in the order of their numbers."""
    signed = set(
        connection.execute(
            select(signature.c.item_id).where(
                signature.c.item_id.in_(select(item.c.id).where(item.c.unit_id == unit_id))
            )
        ).scalars()
    )
    rows = connection.execute(_UNIT_ITEMS, {"unit_id": unit_id})
    return [PlannedItem(*row) for row in rows if row[0] not in signed]


def reserve(connection: Connection, reserved: Sequence[Reserved]) -> None:
    """Append TBSs and claim their serials.

    Raises:
        IntegrityError: a serial exists already (SQLAlchemy's own; the whole transaction is undone).
    """
    append(connection, serial_claim, ("item_id", "serial"), [(r.item_id, r.serial) for r in reserved])
    append(
        connection,
        reservation,
        ("item_id", "not_after", "tbs"),
        [(r.item_id, r.not_after, r.tbs) for r in reserved],
    )


@dataclass(frozen=True, slots=True)
class Signed:
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
            serial_claim.c.serial,
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
        .join(serial_claim, serial_claim.c.item_id == signature.c.item_id)
        .join(item, item.c.id == signature.c.item_id)
        .join(card, card.c.id == item.c.card_id)
        .join(entity, entity.c.id == card.c.entity_id)
    )


def certificate_by_serial(connection: Connection, serial: bytes) -> StoredCertificate | None:
    """Return the certificate of a serial, or None where no certificate of that serial was completed."""
    row = connection.execute(_certificates().where(serial_claim.c.serial == serial)).one_or_none()
    return None if row is None else StoredCertificate(*row)


def certificates_of_entity(connection: Connection, identifier: str) -> list[StoredCertificate]:
    """Return the certificates of every entity that has this 統一編號, oldest first."""
    rows = connection.execute(_certificates().where(entity.c.identifier == identifier).order_by(item.c.id))
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


def last_certificate(connection: Connection, run_id: int) -> Row[int, bytes] | None:
    """Return item and serial of the run's last certificate: serials begin with their time of reservation."""
    return connection.execute(
        select(item.c.id, serial_claim.c.serial)
        .select_from(signature)
        .join(item, item.c.id == signature.c.item_id)
        .join(serial_claim, serial_claim.c.item_id == item.c.id)
        .where(item.c.run_id == run_id)
        .order_by(serial_claim.c.serial.desc())
        .limit(1)
    ).one_or_none()


def unit_certificates(connection: Connection, unit_id: int) -> Iterator[Row[int, bytes, bytes]]:
    """Yield item, TBS and signature of a unit's certificates."""
    yield from connection.execute(
        select(item.c.id, reservation.c.tbs, signature.c.signature)
        .select_from(item)
        .join(reservation, reservation.c.item_id == item.c.id)
        .join(signature, signature.c.item_id == item.c.id)
        .where(item.c.unit_id == unit_id)
        .order_by(item.c.id)
    )
