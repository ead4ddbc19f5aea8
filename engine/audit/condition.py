"""How the audit chain stands: its end, and how much of it is under a signed checkpoint.

Reads two rows and verifies nothing; `verify` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from engine.audit.log import HEAD
from engine.store.schema import audit_checkpoint, audit_head, audit_record


@dataclass(frozen=True, slots=True)
class ChainCondition:
    """The end of the chain.

    Attributes:
        sequence: of the newest record, which is how many there are.
        recorded_at: when it was written.
        event: what it says.
        actor: who did it.
        hash: the chain head.
        checkpoint: the sequence number of the last signed checkpoint; None while there is none.
        checkpoint_at: when that was signed.
    """

    sequence: int
    recorded_at: datetime
    event: str
    actor: str
    hash: bytes
    checkpoint: int | None
    checkpoint_at: datetime | None

    @property
    def uncovered(self) -> int:
        """How many records no signed checkpoint covers yet."""
        return self.sequence - (self.checkpoint or 0)


def chain_condition(connection: Connection) -> ChainCondition | None:
    """Return how the chain stands; None while it has no record."""
    head = connection.execute(
        select(
            audit_record.c.sequence,
            audit_record.c.recorded_at,
            audit_record.c.event,
            audit_record.c.actor,
            audit_head.c.hash,
        )
        .join(audit_head, audit_head.c.sequence == audit_record.c.sequence)
        .where(audit_head.c.id == HEAD)
    ).one_or_none()
    if head is None:
        return None
    signed = connection.execute(
        select(audit_checkpoint.c.sequence, audit_checkpoint.c.signed_at)
        .where(audit_checkpoint.c.signature.is_not(None))
        .order_by(audit_checkpoint.c.sequence.desc())
        .limit(1)
    ).one_or_none()
    return ChainCondition(*head, *(signed or (None, None)))
