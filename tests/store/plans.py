"""Small plans: entities with a card each, in units of two keys."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, insert, select

from engine.store.certificates import (
    Reserved,
    Signed,
    complete,
    record_failures,
    reserve,
    unit_items,
)
from engine.store.database import Store
from engine.store.plans import (
    PlannedCard,
    PlannedEntity,
    PlannedKey,
    allot_partition,
    append_cards,
    append_unit,
    claim_keys,
    next_id,
)
from engine.store.runs import RunState
from engine.store.schema import metadata, run, to_microseconds
from engine.store.work_units import Lease, lease_next, mark_completed, mark_reserved

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
LEASE = timedelta(seconds=120)
NOT_AFTER = NOW + timedelta(days=5 * 365)
ISSUER = b"CA key"


def uri_of(partition: int) -> tuple[str, str]:
    return f"http://crl.example/{partition}.crl", "http://crl.example/complete.crl"


def make_run(connection: Connection, state: RunState = RunState.RUNNING) -> int:
    run_id = next_id(connection, run)
    connection.execute(
        insert(run).values(
            id=run_id,
            state=state.value,
            policy_name="p",
            policy_text="",
            legal_basis="CPS 4.2.1.2",
            register_name="r",
            register_digest=b"",
            card_keys_digest=b"",
            issuer_key_identifier=ISSUER,
            created_at=NOW,
        )
    )
    return run_id


def key(label: str) -> PlannedKey:
    return PlannedKey("signature", label.encode(), hashlib.sha256(label.encode()).digest())


def entity(entity_id: int, *, is_new: bool = True, number: str | None = "") -> PlannedEntity:
    """An entity; its subscriber number is made from its id unless another, or none, is given."""
    subscriber_number = f"{entity_id:010d}" if number == "" else number
    return PlannedEntity(
        entity_id, is_new, "company", f"{entity_id:08d}", "name", None, None, subscriber_number
    )


def card(
    holder: PlannedEntity, label: str, *, rank: str = "primary", claims_subject: bool = False
) -> PlannedCard:
    keys = (key(label + "/s"), key(label + "/e"))
    return PlannedCard(
        holder, label, rank, "ic-card", holder.name.encode(), holder.identifier, keys, claims_subject
    )


def append_plan(
    connection: Connection, run_id: int, cards: list[PlannedCard], *, unit_size: int = 2
) -> list[int]:
    """Append cards and their units; return the units."""
    numbers = append_cards(connection, run_id, cards)
    keys = [(n, k) for n, c in zip(numbers, cards, strict=True) for k in c.keys]
    units = []
    for start in range(0, len(keys), unit_size):
        part = keys[start : start + unit_size]
        partition = allot_partition(connection, issuer=ISSUER, count=len(part), size=100, uri_of=uri_of)
        unit, claims = append_unit(connection, run_id, partition, part)
        claim_keys(connection, claims)
        units.append(unit)
    return units


def plan(store: Store, entities: int = 3, *, unit_size: int = 2, state: RunState = RunState.RUNNING) -> int:
    """Plan a run of new entities with a primary card each; two items a unit."""
    with store.write() as connection:
        run_id = make_run(connection, state)
        first = 1000 * run_id
        cards = [card(entity(first + n), f"MG{first + n:014d}") for n in range(entities)]
        append_plan(connection, run_id, cards, unit_size=unit_size)
    return run_id


def lease(
    store: Store, run_id: int, *, holder: str = "a", now: datetime = NOW, reserved_only: bool = False
) -> Lease:
    with store.write() as connection:
        taken = lease_next(
            connection, run_id, holder=holder, now=now, until=now + LEASE, reserved_only=reserved_only
        )
    assert taken is not None
    return taken


def reserved_for(lease: Lease, item_id: int) -> Reserved:
    """A TBS that says which item it is for, and which lease made it."""
    serial = bytes([1]) + item_id.to_bytes(7) + lease.fence.to_bytes(8)
    return Reserved(
        item_id, serial, to_microseconds(NOT_AFTER), f"TBS {item_id} fence {lease.fence}".encode()
    )


def reserve_unit(store: Store, held: Lease) -> list[Reserved]:
    """Reserve every item of a unit that has no TBS yet."""
    with store.write() as connection:
        made = [reserved_for(held, i.item_id) for i in unit_items(connection, held.unit_id) if i.tbs is None]
        mark_reserved(connection, held, NOW + LEASE)
        reserve(connection, made)
    return made


def complete_unit(
    store: Store, held: Lease, *, failing: int = 0, not_after: datetime = NOT_AFTER
) -> list[Signed]:
    """Complete a unit; the first few of its items fail."""
    with store.write() as connection:
        items = [item.item_id for item in unit_items(connection, held.unit_id)]
        signed = [Signed(n, to_microseconds(not_after), f"signature {n}".encode()) for n in items[failing:]]
        mark_completed(connection, held, issued=len(signed), failed=failing)
        complete(connection, held.partition_id, signed)
        failures = [(n, "the token refused") for n in items[:failing]]
        record_failures(connection, held.unit_id, failures, NOW)
    return signed


def issue_run(store: Store, run_id: int, *, not_after: datetime = NOT_AFTER) -> None:
    """Reserve and complete every unit of a run."""
    while True:
        with store.write() as connection:
            held = lease_next(connection, run_id, holder="a", now=NOW, until=NOW + LEASE, reserved_only=False)
        if held is None:
            return
        reserve_unit(store, held)
        complete_unit(store, held, not_after=not_after)


def contents(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with store.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]  # any table
