"""Stored OCSP answers: batches reserved before they are signed, and one answer a card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from engine.store.bulk_append import replace
from engine.store.bulk_select import rows_of
from engine.store.schema import card_status_revision, ocsp_answer, ocsp_batch
from engine.store.status_changes import ChangeKind, append_changes


class NewAnswer(NamedTuple):
    """An answer about to be stored, in the order of the columns."""

    card_id: int
    batch_id: int
    responder_id: int
    renew_at: int
    """Microseconds since the epoch."""
    answer: bytes


def reserve_batch(
    connection: Connection, *, responder_id: int, digests: bytes, urgent: bool, now: datetime
) -> int:
    """Record the digests of a batch before the token sees any of it; return the batch's number.

    Args:
        connection: a writing transaction, which also appends the audit record.
        responder_id: whose key signs.
        digests: SHA-256 of every tbsResponseData, joined.
        urgent: whether a change of status asked for it.
        now: when.
    """
    values = {"responder_id": responder_id, "digests": digests, "urgent": urgent, "reserved_at": now}
    batch_id: int = connection.execute(
        insert(ocsp_batch).values(values).returning(ocsp_batch.c.id)
    ).scalar_one()
    return batch_id


_COLUMNS = ("card_id", "batch_id", "responder_id", "renew_at", "answer")


def store_answers(
    connection: Connection, batch_id: int, answers: Sequence[tuple[NewAnswer, int]], now: datetime
) -> int:
    """Store a batch's answers, but for those whose card has changed since they were made; tell the feed.

    Args:
        connection: a writing transaction.
        batch_id: the batch.
        answers: each with the revision of its card that it was made of.
        now: when.

    Returns:
        How many were stored.
    """
    revisions = revisions_of(connection, [answer.card_id for answer, _ in answers])
    current = [
        (answer, revision) for answer, revision in answers if revisions.get(answer.card_id, 0) == revision
    ]
    if current:
        replace(connection, ocsp_answer, _COLUMNS, [answer for answer, _ in current])
        settle(connection, [(answer.card_id, revision) for answer, revision in current if revision])
    connection.execute(update(ocsp_batch).where(ocsp_batch.c.id == batch_id).values(completed_at=now))
    append_changes(connection, ChangeKind.ANSWERED, [batch_id], now)
    return len(current)


def settle(connection: Connection, cards: Sequence[tuple[int, int]]) -> None:
    """Note the revision of each card that has been answered, or that needs no answer any more."""
    if cards:
        connection.execute(
            update(card_status_revision)
            .where(card_status_revision.c.card_id == bindparam("of_card"))
            .values(answered=bindparam("of_revision")),
            [{"of_card": card_id, "of_revision": revision} for card_id, revision in cards],
        )


def revisions_of(connection: Connection, card_ids: Sequence[int]) -> dict[int, int]:
    """Return the revision of those cards that ever changed."""
    statement = "SELECT card_id, revision FROM card_status_revision WHERE card_id IN ({places})"
    return {row[0]: row[1] for row in rows_of(connection, statement, card_ids)}


def owed_among(connection: Connection, card_ids: Sequence[int]) -> set[int]:
    """Return those cards whose status changed since their answer was signed."""
    statement = "SELECT card_id FROM card_status_revision WHERE answered < revision AND card_id IN ({places})"
    return {card_id for (card_id,) in rows_of(connection, statement, card_ids)}


def answers_of_cards(connection: Connection, card_ids: Sequence[int]) -> dict[int, bytes]:
    """Return the packed answers of cards that have one."""
    statement = "SELECT card_id, answer FROM ocsp_answer WHERE card_id IN ({places})"
    return {row[0]: row[1] for row in rows_of(connection, statement, card_ids)}


def answers_of_card_range(connection: Connection, after: int, until: int) -> dict[int, bytes]:
    """Return the packed answers of the cards in the range (after, until]."""
    rows = connection.execute(
        select(ocsp_answer.c.card_id, ocsp_answer.c.answer).where(
            ocsp_answer.c.card_id > after, ocsp_answer.c.card_id <= until
        )
    )
    return {row.card_id: row.answer for row in rows}


def cards_of_batches(connection: Connection, batch_ids: Sequence[int]) -> list[int]:
    """Return the cards whose stored answer is of one of the batches."""
    statement = "SELECT card_id FROM ocsp_answer WHERE batch_id IN ({places})"
    return [card_id for (card_id,) in rows_of(connection, statement, batch_ids)]


def cards_to_renew(connection: Connection, now: int, limit: int, share: tuple[int, int]) -> list[int]:
    """Return the cards whose answer is due for renewal, the longest due first.

    Args:
        connection: a snapshot.
        now: microseconds since the epoch.
        limit: at most so many.
        share: which of how many signers asks: the cards are divided by their numbers.
    """
    rows = connection.execute(
        select(ocsp_answer.c.card_id)
        .where(ocsp_answer.c.renew_at <= now, ocsp_answer.c.card_id % share[1] == share[0])
        .order_by(ocsp_answer.c.renew_at)
        .limit(limit)
    )
    return list(rows.scalars())


def drop_answers(connection: Connection, card_ids: Sequence[int]) -> None:
    """Remove the answers of cards that need none any more: everything on them has expired."""
    if card_ids:
        connection.execute(
            delete(ocsp_answer).where(ocsp_answer.c.card_id == bindparam("of_card")),
            [{"of_card": card_id} for card_id in card_ids],
        )


def count_to_renew(connection: Connection, now: int) -> int:
    """Return how many cards' answers are due for renewal.

    Args:
        connection: a snapshot.
        now: microseconds since the epoch.
    """
    question = select(func.count()).select_from(ocsp_answer).where(ocsp_answer.c.renew_at <= now)
    return int(connection.execute(question).scalar_one())
