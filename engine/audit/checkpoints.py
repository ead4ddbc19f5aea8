"""Signed checkpoints: statements of the audit key on how long the chain is and how it ends.

The statement is stored before it is signed, so that every signature the audit key ever made is accounted for. A
checkpoint outlives the database when its file is kept elsewhere: whoever rewrites the whole chain, hashes and all,
cannot make the statement again without the audit key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import insert, select, update

from engine.audit.events import Event
from engine.audit.log import HEAD, append_record
from engine.clock import Clock
from engine.errors import InputRejected
from engine.fault_points import fault_point
from engine.store.database import Store
from engine.store.schema import audit_checkpoint, audit_head

Sign = Callable[[bytes], Awaitable[bytes]]
"""Signs a message with the audit key, which is for nothing else (CPS 4.5.4)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement: at this sequence number the chain has this hash."""

    sequence: int
    statement: bytes
    key_identifier: bytes
    signature: bytes


async def sign_checkpoint(
    store: Store, clock: Clock, *, actor: str, key_identifier: bytes, sign: Sign
) -> Checkpoint:
    """State the end of the chain, store the statement, sign it, store the signature.

    Args:
        store: the open store; its chain has a record at least.
        clock: tells the time of the statement.
        actor: who asks.
        key_identifier: the audit key's.
        sign: the audit key.

    Returns:
        The checkpoint.

    Cancelled while signing, it leaves a statement without a signature; the next checkpoint makes it whole in time.
    """
    with store.write() as connection:
        record = append_record(
            connection,
            clock,
            Event.AUDIT_CHECKPOINT_SIGNED,
            actor=actor,
            body={"key_identifier": key_identifier.hex()},
        )
        statement = orjson.dumps(
            {
                "format": "sealmint audit checkpoint 1",
                "hash": record.hash.hex(),
                "key_identifier": key_identifier.hex(),
                "recorded_at": record.recorded_at.isoformat(),
                "sequence": record.sequence,
            },
            option=orjson.OPT_SORT_KEYS,
        )
        connection.execute(
            insert(audit_checkpoint).values(
                sequence=record.sequence,
                signed_at=record.recorded_at,
                statement=statement.decode(),
                key_identifier=key_identifier,
            )
        )
    fault_point("checkpoint.stated")
    signature = await sign(statement)
    fault_point("checkpoint.signed")
    with store.write() as connection:
        connection.execute(
            update(audit_checkpoint)
            .where(audit_checkpoint.c.sequence == record.sequence)
            .values(signature=signature)
        )
    return Checkpoint(record.sequence, statement, key_identifier, signature)


def records_since_checkpoint(store: Store) -> int:
    """Return how many records no signed checkpoint covers yet."""
    with store.read() as connection:
        head = (
            connection.execute(
                select(audit_head.c.sequence).where(audit_head.c.id == HEAD)
            ).scalar_one_or_none()
            or 0
        )
        covered = connection.execute(
            select(audit_checkpoint.c.sequence)
            .where(audit_checkpoint.c.signature.is_not(None))
            .order_by(audit_checkpoint.c.sequence.desc())
            .limit(1)
        ).scalar_one_or_none()
    return int(head) - int(covered or 0)


def stored_checkpoints(store: Store) -> list[Checkpoint]:
    """Return the signed checkpoints of the database, oldest first."""
    with store.read() as connection:
        rows = connection.execute(
            select(audit_checkpoint)
            .where(audit_checkpoint.c.signature.is_not(None))
            .order_by(audit_checkpoint.c.sequence)
        ).all()
    return [Checkpoint(r.sequence, r.statement.encode(), r.key_identifier, r.signature) for r in rows]


def export_checkpoint(checkpoint: Checkpoint, directory: Path) -> Path:
    """Write a checkpoint to a file of its own, to be kept away from the database.

    Returns:
        The file: JSON with the statement, the key identifier and the signature.
    """
    path = directory / f"checkpoint-{checkpoint.sequence:010d}.json"
    partial = path.with_suffix(".partial")
    partial.write_bytes(
        orjson.dumps(
            {
                "statement": checkpoint.statement.decode(),
                "key_identifier": checkpoint.key_identifier.hex(),
                "signature": checkpoint.signature.hex(),
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
    )
    partial.rename(path)
    return path


def exported_checkpoints(directory: Path) -> list[Checkpoint]:
    """Read back the checkpoint files of a directory, oldest first.

    Raises:
        InputRejected: a file is not one that `export_checkpoint` wrote.
    """
    return [_read_checkpoint(path) for path in sorted(directory.glob("checkpoint-*.json"))]


def _read_checkpoint(path: Path) -> Checkpoint:
    try:
        content = orjson.loads(path.read_bytes())
        statement = content["statement"].encode()
        return Checkpoint(
            orjson.loads(statement)["sequence"],
            statement,
            bytes.fromhex(content["key_identifier"]),
            bytes.fromhex(content["signature"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputRejected(
            "not a checkpoint file",
            place=str(path),
            value=str(error),
            rule="as sealmint audit checkpoint writes it",
        ) from error
