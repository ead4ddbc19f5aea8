"""Issued certificates by the hundred thousand, put into a store as issuing leaves them but for what status never reads.

Only the rows that status works on are real: cards, items, serials, status rows, partitions and the change feed. The
TBSs are empty and nothing is signed, so a store of a million certificates is made in a minute.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, insert, select

from engine.authority.context import AuthorityContext
from engine.store.bulk_append import append
from engine.store.database import Store
from engine.store.schema import (
    STATUS_GOOD,
    card,
    certificate_status,
    crl_partition,
    item,
    reservation,
    serial_claim,
    to_microseconds,
    work_unit,
)
from engine.store.status_changes import ChangeKind, append_changes

UNIT = 512
"""Certificates of a work unit: what the shipped policies have."""

CHUNK = 20_480
"""Cards put in with one transaction. A guess."""

SEED = 20_261_123
"""Of the serials, so that two runs make the same store."""


def add_certificates(context: AuthorityContext, cards: int, *, per_card: int = 2) -> list[bytes]:
    """Add cards with issued certificates to a home's store, in one CRL partition; return the serials.

    Args:
        context: the home.
        cards: how many.
        per_card: certificates of each.
    """
    randomness = random.Random(SEED)
    serials: list[bytes] = []
    partition = _partition(context)
    not_after = to_microseconds(context.clock.now() + timedelta(days=5 * 365))
    for start in range(0, cards, CHUNK):
        count = min(CHUNK, cards - start)
        new = [bytes((0x40,)) + randomness.randbytes(15) for _ in range(count * per_card)]
        _add(context, partition, new, per_card, not_after)
        serials += new
    return serials


def _partition(context: AuthorityContext) -> int:
    with context.store.write() as connection:
        found: int | None = connection.execute(select(crl_partition.c.id)).scalars().first()
        if found is not None:
            return found
        uris = {"uri": "http://127.0.0.1/CRL_0001.crl", "complete_uri": "http://127.0.0.1/complete.crl"}
        values = {"id": 1, "number": 1, "allotted": 0, "issued": 1, **uris}
        identifier = context.authority.ca.key_identifier
        connection.execute(insert(crl_partition).values(issuer_key_identifier=identifier, **values))
        return 1


def _add(
    context: AuthorityContext, partition: int, serials: list[bytes], per_card: int, not_after: int
) -> None:
    with context.store.write() as connection:
        first_card, first_item, first_unit = (
            (connection.execute(select(func.max(table.c.id))).scalar_one_or_none() or 0) + 1
            for table in (card, item, work_unit)
        )
        count = len(serials)
        items = [
            (first_item + place, 1, first_unit + place // UNIT, first_card + place // per_card)
            for place in range(count)
        ]
        units = sorted({unit for _, _, unit, _ in items})
        append(
            connection,
            work_unit,
            ("id", "run_id", "partition_id", "state", "size", "issued", "failed", "fence"),
            [(unit, 1, partition, "completed", UNIT, UNIT, 0, 1) for unit in units],
        )
        columns = ("id", "run_id", "entity_id", "number", "rank", "carrier", "kind", "subject")
        cards = range(first_card, first_card + count // per_card)
        append(
            connection,
            card,
            columns,
            [
                (number, 1, number, f"MG{number:014}", "primary", "ic-card", "company", b"")
                for number in cards
            ],
        )
        usages = ("signature", "encryption")
        append(
            connection,
            item,
            ("id", "run_id", "unit_id", "card_id", "usage", "public_key"),
            [(*row, usages[place % 2], b"") for place, row in enumerate(items)],
        )
        rows = list(zip((row[0] for row in items), serials, strict=True))
        append(connection, serial_claim, ("serial", "item_id"), sorted((s, i) for i, s in rows))
        append(
            connection,
            reservation,
            ("item_id", "serial", "not_after", "tbs"),
            [(item_id, serial, not_after, b"") for item_id, serial in rows],
        )
        append(
            connection,
            certificate_status,
            ("item_id", "partition_id", "not_after", "state"),
            [(item_id, partition, not_after, int(STATUS_GOOD)) for item_id, _ in rows],
        )
        append_changes(connection, ChangeKind.ISSUED, units, context.clock.now())


def cards_of(store: Store, at_once: int = 10_000) -> Iterator[list[int]]:
    """Yield the numbers of all cards, some at a time."""
    with store.read() as connection:
        last = connection.execute(select(func.max(card.c.id))).scalar_one_or_none() or 0
    for start in range(1, last + 1, at_once):
        yield list(range(start, min(start + at_once, last + 1)))
