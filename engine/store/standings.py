"""Standings: what each certificate is worth now, read by card and changed by act.

Every change of a standing goes through `change_standings`: status row, CRL entry, the card's revision and the change
feed move in one transaction, or none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from engine.store.bulk_append import append
from engine.store.bulk_select import rows_of
from engine.store.schema import (
    CertificateState,
    card_status_revision,
    certificate_status,
    crl_entry,
    to_microseconds,
)
from engine.store.status_changes import ChangeKind, append_changes


class Standing(NamedTuple):
    """What one certificate is worth."""

    item_id: int
    card_id: int
    partition_id: int
    serial: bytes
    not_after: int
    """Microseconds since the epoch."""
    state: int
    """A CertificateState."""
    since: int | None
    """revocationDate: when it was revoked, or first held; microseconds; None while good."""
    reason: int | None
    """CRLReason; None while good."""


@dataclass(slots=True)
class CardStanding:
    """The issued certificates of a card, in the order of their items, and the revision they are read at."""

    card_id: int
    revision: int
    certificates: list[Standing] = field(default_factory=list)


_BY_CARD = """
    SELECT item.id, item.card_id, status.partition_id, reservation.serial, status.not_after, status.state,
           entry.since, entry.reason, coalesce(revision.revision, 0)
    FROM item
        JOIN certificate_status status ON status.item_id = item.id
        JOIN reservation ON reservation.item_id = item.id
        LEFT JOIN crl_entry entry ON entry.partition_id = status.partition_id AND entry.item_id = item.id
        LEFT JOIN card_status_revision revision ON revision.card_id = item.card_id
    WHERE {which}
    ORDER BY item.card_id, item.id
"""


def standings_of_cards(connection: Connection, card_ids: Sequence[int]) -> list[CardStanding]:
    """Return the standing of each card that has an issued certificate, in the order of the card numbers.

    Args:
        connection: a snapshot or a writing transaction.
        card_ids: the cards.
    """
    return _by_card(
        rows_of(connection, _BY_CARD.format(which="item.card_id IN ({places})"), sorted(set(card_ids)))
    )


def standings_of_card_range(connection: Connection, after: int, until: int) -> list[CardStanding]:
    """Return the standing of each card with an issued certificate whose number is in the range (after, until]."""
    which = "item.card_id > :after AND item.card_id <= :until"
    rows = connection.execute(text(_BY_CARD.format(which=which)), {"after": after, "until": until})
    return _by_card(rows.fetchall())


def _by_card(rows: Iterable[Sequence[Any]]) -> list[CardStanding]:
    found: list[CardStanding] = []
    last = 0
    for values in rows:
        if values[1] != last:
            last = values[1]
            found.append(CardStanding(last, values[8]))
        found[-1].certificates.append(Standing._make(values[:8]))
    return found


class NewStanding(NamedTuple):
    """What a certificate is worth from now on."""

    before: Standing
    state: CertificateState
    since: int | None
    """revocationDate in microseconds; None for good."""
    reason: int | None
    """CRLReason; None for good."""
    invalidity_at: int | None = None
    """invalidityDate in microseconds."""


def change_standings(connection: Connection, changed: Sequence[NewStanding], changed_at: datetime) -> int:
    """Change what certificates are worth: status, CRL entry, revision of the card, feed.

    The order in which rows are taken is that of the items, so two acts never wait for each other in a circle.

    Args:
        connection: a writing transaction, in which the standings before were read.
        changed: each certificate once.
        changed_at: when; the feed carries it.

    Returns:
        The last sequence number of the change feed.
    """
    changed = sorted(changed, key=lambda new: new.before.item_id)
    if not changed:
        raise ValueError("no certificate changes")  # a defect of the caller
    connection.execute(
        update(certificate_status)
        .where(certificate_status.c.item_id == bindparam("of_item"))
        .values(state=bindparam("new_state")),
        [{"of_item": new.before.item_id, "new_state": int(new.state)} for new in changed],
    )
    connection.execute(
        delete(crl_entry).where(
            crl_entry.c.partition_id == bindparam("of_partition"), crl_entry.c.item_id == bindparam("of_item")
        ),
        [{"of_partition": new.before.partition_id, "of_item": new.before.item_id} for new in changed],
    )
    append(
        connection,
        crl_entry,
        ("partition_id", "item_id", "serial", "not_after", "since", "reason", "invalidity_at"),
        [
            (
                new.before.partition_id,
                new.before.item_id,
                new.before.serial,
                new.before.not_after,
                new.since,
                new.reason,
                new.invalidity_at,
            )
            for new in changed
            if new.state is not CertificateState.GOOD
        ],
    )
    _raise_revisions(connection, sorted({new.before.card_id for new in changed}), changed_at)
    return append_changes(connection, ChangeKind.STATUS, [new.before.item_id for new in changed], changed_at)


_RAISE = text("""
    INSERT INTO card_status_revision (card_id, revision, answered, changed_at) VALUES (:card_id, 1, 0, :changed_at)
    ON CONFLICT (card_id) DO UPDATE
    SET revision = card_status_revision.revision + 1, changed_at = excluded.changed_at
""")


def _raise_revisions(connection: Connection, card_ids: Sequence[int], changed_at: datetime) -> None:
    moment = to_microseconds(changed_at)
    connection.execute(_RAISE, [{"card_id": card_id, "changed_at": moment} for card_id in card_ids])


_RAISE_OF_UNIT = text("""
    UPDATE card_status_revision SET revision = revision + 1, changed_at = :changed_at
    WHERE card_id IN (SELECT card_id FROM item WHERE unit_id = :unit_id)
""")


def raise_revisions_of_unit(connection: Connection, unit_id: int, changed_at: datetime) -> None:
    """Let an answer be owed for the cards of a unit whose status ever changed: they have got a further certificate.

    An answer that was being signed for such a card does not cover it, and must not count as its answer.
    """
    connection.execute(_RAISE_OF_UNIT, {"unit_id": unit_id, "changed_at": to_microseconds(changed_at)})


def cards_owed_an_answer(connection: Connection, limit: int, share: tuple[int, int] = (0, 1)) -> list[int]:
    """Return the cards whose stored answer is older than their status, the longest waiting first.

    Args:
        connection: a snapshot.
        limit: at most so many.
        share: which of how many signers asks: the cards are divided by their numbers.
    """
    rows = connection.execute(
        select(card_status_revision.c.card_id)
        .where(
            card_status_revision.c.answered < card_status_revision.c.revision,
            card_status_revision.c.card_id % share[1] == share[0],
        )
        .order_by(card_status_revision.c.changed_at)
        .limit(limit)
    )
    return list(rows.scalars())


def count_owed_an_answer(connection: Connection) -> int:
    """Return how many cards' stored answers are older than their status."""
    owed = card_status_revision.c.answered < card_status_revision.c.revision
    return int(connection.execute(select(func.count()).where(owed)).scalar_one())


def cards_of_items(connection: Connection, item_ids: Sequence[int]) -> list[int]:
    """Return the cards of items, each once."""
    statement = "SELECT DISTINCT card_id FROM item WHERE id IN ({places})"
    return sorted({card_id for (card_id,) in rows_of(connection, statement, sorted(set(item_ids)))})


def cards_of_units(connection: Connection, unit_ids: Sequence[int]) -> list[int]:
    """Return the cards of work units that have an issued certificate, each once."""
    statement = """
        SELECT DISTINCT item.card_id FROM item JOIN certificate_status status ON status.item_id = item.id
        WHERE item.unit_id IN ({places})
    """
    return sorted({card_id for (card_id,) in rows_of(connection, statement, sorted(set(unit_ids)))})
