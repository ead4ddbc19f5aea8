"""How many cards have their OCSP answer, for those who watch."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from engine.store.schema import (
    card_status_revision,
    certificate_status,
    item,
    ocsp_answer,
    ocsp_batch,
    to_microseconds,
)


class AnswerCounts(NamedTuple):
    """Cards by the state of their answer."""

    cards: int
    """With a certificate that has not expired."""
    answered: int
    """With a stored answer."""
    owed: int
    """Whose status changed since their answer was signed."""
    due: int
    """Whose answer is to be renewed now."""
    batches_signed: int
    """Batches that were ever completed."""


def count_answers(connection: Connection, now: datetime) -> AnswerCounts:
    """Count; takes a pass over all certificates."""
    moment = to_microseconds(now)
    cards = select(func.count(func.distinct(item.c.card_id))).select_from(
        item.join(certificate_status, certificate_status.c.item_id == item.c.id)
    )
    owed = card_status_revision.c.answered < card_status_revision.c.revision
    return AnswerCounts(
        connection.execute(cards.where(certificate_status.c.not_after > moment)).scalar_one(),
        connection.execute(select(func.count()).select_from(ocsp_answer)).scalar_one(),
        connection.execute(select(func.count()).select_from(card_status_revision).where(owed)).scalar_one(),
        connection.execute(
            select(func.count()).select_from(ocsp_answer).where(ocsp_answer.c.renew_at <= moment)
        ).scalar_one(),
        connection.execute(
            select(func.count()).select_from(ocsp_batch).where(ocsp_batch.c.completed_at.is_not(None))
        ).scalar_one(),
    )
