"""What planning writes: entities, cards, items, work units, and the claims that keep overlapping runs apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from engine.kinds import Kind, Rank
from engine.store.bulk_append import append
from engine.store.schema import (
    card,
    card_number_claim,
    crl_partition,
    entity,
    item,
    primary_card_claim,
    public_key_claim,
    run_reject,
    subject_claim,
    subscriber_number_claim,
    work_unit,
)

FIRST_CERTIFICATE = 0
"""The occasion of a key's first certificate (see `public_key_claim`)."""

_WITH_BRANCHES = (Kind.COMPANY.value, Kind.LIMITED_PARTNERSHIP.value)

KeyClaim = tuple[bytes, int, int]
"""The digest of a key, the occasion, and the item that will certify it."""

PartitionUris = Callable[[int], tuple[str, str]]
"""Gives a partition's number the URIs of its CRL and of the complete CRL, as certificates will carry them."""


class PlannedEntity(NamedTuple):
    """A subscriber as planned, under the number that its row has or will have."""

    entity_id: int
    is_new: bool
    kind: str
    identifier: str
    name: str
    unit_name: str | None
    county: str | None
    subscriber_number: str | None


class PlannedKey(NamedTuple):
    """One key pair of a card: a certificate to be."""

    usage: str
    public_key: bytes
    key_digest: bytes


class PlannedCard(NamedTuple):
    """A card with its keys and its holder."""

    holder: PlannedEntity
    number: str
    rank: str
    carrier: str
    subject: bytes
    uniform_number: str | None
    keys: tuple[PlannedKey, ...]
    claims_subject: bool = False
    """Whether its subject, which no number tells apart, is claimed with it (choice 16)."""


def next_id(connection: Connection, table: Table) -> int:
    """Return the first free number of a table. Call it inside a writing transaction that holds the write lock."""
    return int(connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()) + 1


def entities_by_identifier(
    connection: Connection, kind: str, identifiers: Sequence[str]
) -> dict[str, tuple[int, str | None]]:
    """Return entity id and subscriber number of those identifiers that the store knows."""
    rows = connection.execute(
        select(entity.c.identifier, entity.c.id, entity.c.subscriber_number).where(
            entity.c.kind == kind, entity.c.identifier.in_(identifiers)
        )
    )
    return {identifier: (entity_id, number) for identifier, entity_id, number in rows}


def name_of(connection: Connection, identifier: str) -> str | None:
    """Return the name under which the store knows a company or partnership by its number."""
    return connection.execute(
        select(entity.c.name)
        .where(entity.c.kind.in_(_WITH_BRANCHES), entity.c.identifier == identifier)
        .order_by(entity.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()


def allot_partition(
    connection: Connection, *, issuer: bytes, count: int, size: int, uri_of: PartitionUris
) -> int:
    """Find the CRL partition that takes a work unit, opening a new one when the newest is full.

    Args:
        connection: a writing transaction.
        issuer: the CA key's identifier: partitions belong to a key.
        count: the certificates of the unit.
        size: how many certificates a partition takes (from the policy).
        uri_of: gives the CDP URIs of a partition.

    Returns:
        The partition's row number.
    """
    newest = connection.execute(
        select(crl_partition)
        .where(crl_partition.c.issuer_key_identifier == issuer)
        .order_by(crl_partition.c.number.desc())
        .limit(1)
    ).one_or_none()
    if newest is not None and (newest.allotted == 0 or newest.allotted + count <= size):
        connection.execute(
            update(crl_partition)
            .where(crl_partition.c.id == newest.id)
            .values(allotted=newest.allotted + count)
        )
        return int(newest.id)
    number = 1 if newest is None else newest.number + 1
    partition_uri, complete_uri = uri_of(number)
    partition_id = next_id(connection, crl_partition)
    connection.execute(
        insert(crl_partition).values(
            id=partition_id,
            issuer_key_identifier=issuer,
            number=number,
            uri=partition_uri,
            complete_uri=complete_uri,
            allotted=count,
            issued=0,
        )
    )
    return partition_id


def append_rejects(connection: Connection, run_id: int, rejects: Sequence[tuple[object, ...]]) -> None:
    """Append to a run's reject report: source, row number, identifier, reason, field, detail."""
    append(
        connection,
        run_reject,
        ("run_id", "source", "row_number", "identifier", "reason", "field", "detail"),
        [(run_id, *reject) for reject in rejects],
    )


def append_cards(connection: Connection, run_id: int, cards: Sequence[PlannedCard]) -> list[int]:
    """Append cards with their holders and claims; their items follow with :func:`append_unit`.

    Args:
        connection: a writing transaction.
        run_id: the run.
        cards: cards whose numbers, keys and holders were found free in this same transaction.

    Returns:
        The cards' row numbers, in order.

    Raises:
        IntegrityError: a number or a primary card is claimed already (SQLAlchemy's own).
    """
    subjects = {hashlib.sha256(c.subject).digest(): c.holder.entity_id for c in cards if c.claims_subject}
    append(connection, subject_claim, ("subject_digest", "entity_id"), list(subjects.items()))
    fresh = {c.holder.entity_id: c.holder for c in cards if c.holder.is_new}.values()
    append(
        connection,
        entity,
        ("id", "kind", "identifier", "name", "unit_name", "county", "subscriber_number"),
        [
            (e.entity_id, e.kind, e.identifier, e.name, e.unit_name, e.county, e.subscriber_number)
            for e in fresh
        ],
    )
    _rename(connection, {c.holder.entity_id: c.holder for c in cards if not c.holder.is_new}.values())
    append(
        connection,
        subscriber_number_claim,
        ("number", "entity_id"),
        [(e.subscriber_number, e.entity_id) for e in fresh if e.subscriber_number is not None],
    )
    first = next_id(connection, card)
    numbered = list(enumerate(cards, first))
    append(
        connection,
        card,
        ("id", "run_id", "entity_id", "number", "rank", "carrier", "kind", "subject", "uniform_number"),
        [
            (
                n,
                run_id,
                c.holder.entity_id,
                c.number,
                c.rank,
                c.carrier,
                c.holder.kind,
                c.subject,
                c.uniform_number,
            )
            for n, c in numbered
        ],
    )
    append(connection, card_number_claim, ("number", "card_id"), [(c.number, n) for n, c in numbered])
    again = [c.holder.entity_id for c in cards if c.rank == Rank.PRIMARY.value and not c.holder.is_new]
    # What is claimed still for these was found expired: held ones were passed over.
    connection.execute(delete(primary_card_claim).where(primary_card_claim.c.entity_id.in_(again)))
    append(
        connection,
        primary_card_claim,
        ("entity_id", "card_id"),
        [(c.holder.entity_id, n) for n, c in numbered if c.rank == Rank.PRIMARY.value],
    )
    return [n for n, _ in numbered]


def _rename(connection: Connection, known: Iterable[PlannedEntity]) -> None:
    """Bring known entities to the names the register has now: branches take their company's name from there."""
    values = [
        {"of": e.entity_id, "name": e.name, "unit_name": e.unit_name, "county": e.county} for e in known
    ]
    if values:
        connection.execute(update(entity).where(entity.c.id == bindparam("of")), values)


def append_unit(
    connection: Connection, run_id: int, partition_id: int, keys: Sequence[tuple[int, PlannedKey]]
) -> tuple[int, list[KeyClaim]]:
    """Append a work unit with one item for each key.

    Args:
        connection: a writing transaction.
        run_id: the run.
        partition_id: the CRL partition of the unit's certificates.
        keys: card row number and key, for each certificate to be.

    Returns:
        The unit's row number, and the claims on its keys, which follow with :func:`claim_keys`.
    """
    unit_id = next_id(connection, work_unit)
    connection.execute(
        insert(work_unit).values(
            id=unit_id, run_id=run_id, partition_id=partition_id, state="planned", size=len(keys)
        )
    )
    numbered = list(enumerate(keys, next_id(connection, item)))
    append(
        connection,
        item,
        ("id", "run_id", "unit_id", "card_id", "usage", "public_key"),
        [(n, run_id, unit_id, c, k.usage, k.public_key) for n, (c, k) in numbered],
    )
    return unit_id, [(k.key_digest, FIRST_CERTIFICATE, n) for n, (_, k) in numbered]


def claim_keys(connection: Connection, claims: Sequence[KeyClaim]) -> None:
    """Claim keys for the items that will certify them.

    Args:
        connection: a writing transaction.
        claims: best many at a time and sorted over all: digests lie anywhere in the index, and each page that a
            transaction touches is written anew.

    Raises:
        IntegrityError: a key is claimed already (SQLAlchemy's own).
    """
    append(connection, public_key_claim, ("key_digest", "occasion", "item_id"), claims)
