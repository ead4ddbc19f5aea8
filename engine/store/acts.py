"""What acts on status write; what they do to a certificate's worth goes through `standings`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from engine.store.claims import release_primary_card
from engine.store.schema import (
    CertificateState,
    acceptance,
    card,
    certificate_status,
    hold,
    item,
    primary_card_claim,
    revocation,
    status_act,
    to_microseconds,
)
from engine.store.statuses import asked


class NewAct(NamedTuple):
    """An act about to be stored; the fields are the columns of `status_act`."""

    verb: str
    origin: str
    on_behalf_of: str
    scope: str
    subject: str
    ground: str
    document: str | None
    actor: str
    performed_at: datetime


def append_acts(connection: Connection, acts: Sequence[NewAct]) -> list[int]:
    """Append acts; return their numbers, in order."""
    if not acts:
        return []
    statement = insert(status_act).returning(status_act.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, [act._asdict() for act in acts]).scalars())


class NewHold(NamedTuple):
    """A hold about to be stored; perhaps lifted by a later act of the same transaction."""

    item_id: int
    origin: str
    on_behalf_of: str
    placed_at: datetime
    placed_by_act: int
    lifted_at: datetime | None
    lifted_by_act: int | None


def append_holds(connection: Connection, holds: Sequence[NewHold]) -> None:
    """Append holds.

    Raises:
        IntegrityError: the certificate is held on that behalf already (SQLAlchemy's own).
    """
    if holds:
        connection.execute(insert(hold), [new._asdict() for new in holds])


class LiftedHold(NamedTuple):
    """A stored hold that an act ends."""

    hold_id: int
    act_id: int


def lift_holds(connection: Connection, lifted: Sequence[LiftedHold], lifted_at: datetime) -> None:
    """End holds; their rows stay."""
    if lifted:
        connection.execute(
            update(hold)
            .where(hold.c.id == bindparam("of_hold"))
            .values(lifted_at=lifted_at, lifted_by_act=bindparam("by_act")),
            [{"of_hold": hold_id, "by_act": act_id} for hold_id, act_id in lifted],
        )


class NewRevocation(NamedTuple):
    """A revocation about to be stored."""

    item_id: int
    act_id: int
    revoked_at: datetime
    reason: int
    invalidity_at: datetime | None


def append_revocations(connection: Connection, revocations: Sequence[NewRevocation]) -> None:
    """Append revocations.

    Raises:
        IntegrityError: a certificate is revoked already (SQLAlchemy's own).
    """
    if revocations:
        connection.execute(insert(revocation), [new._asdict() for new in revocations])


def append_acceptances(
    connection: Connection, accepted: Sequence[tuple[int, int]], accepted_at: datetime
) -> None:
    """Append acceptances: item and act.

    Raises:
        IntegrityError: a certificate is accepted already (SQLAlchemy's own).
    """
    if accepted:
        connection.execute(
            insert(acceptance),
            [
                {"item_id": item_id, "act_id": act_id, "accepted_at": accepted_at}
                for item_id, act_id in accepted
            ],
        )


def release_ended_primary_cards(connection: Connection, card_ids: Sequence[int], now: datetime) -> None:
    """Let entities have another primary card whose card has no certificate left that is neither revoked nor expired.

    Args:
        connection: the writing transaction that revoked certificates of these cards.
        card_ids: the cards.
        now: the time of the revocation.
    """
    good = (
        exists()
        .where(item.c.card_id == card.c.id)
        .where(certificate_status.c.item_id == item.c.id)
        .where(certificate_status.c.state != CertificateState.REVOKED)
        .where(certificate_status.c.not_after >= to_microseconds(now))
    )
    ended = asked(
        connection,
        card_ids,
        lambda part: (
            select(primary_card_claim.c.entity_id, primary_card_claim.c.card_id)
            .join(
                card,
                (card.c.entity_id == primary_card_claim.c.entity_id)
                & (card.c.id == primary_card_claim.c.card_id),
            )
            .where(card.c.id.in_(part), ~good)
        ),
    )
    for entity_id, card_id in list(ended):
        release_primary_card(connection, entity_id, card_id)
