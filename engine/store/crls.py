"""CRLs in the record: their scopes, and what was reserved and published of each.

A certificate list is reserved (number and digest committed) before the token signs it, and recorded as published before
its file is renamed into its place. One that was reserved and never published stays: its number is used up, its digest
accounts for a signature that may exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from engine.errors import LeaseLost
from engine.store.schema import (
    crl_issue,
    crl_partition,
    crl_scope,
)

COMPLETE = 0
"""In the place of a partition: the scope of the complete CRL."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A CRL partition in which certificates were issued."""

    id: int
    issuer_key_identifier: bytes
    number: int
    uri: str
    complete_uri: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What one series of CRL numbers covers: a partition, or the whole of an issuer's name, under one CA key."""

    id: int
    issuer_key_identifier: bytes
    partition_id: int
    """COMPLETE for the complete CRL."""
    uri: str
    last_number: int


@dataclass(frozen=True, slots=True)
class Issue:
    """A certificate list that was published."""

    id: int
    number: int
    base_number: int | None
    """BaseCRLNumber of a delta CRL."""
    scheduled: bool
    this_update: datetime
    next_update: datetime
    feed_sequence: int
    entries: int
    file_sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewIssue:
    """A certificate list that is to be signed."""

    number: int
    base_number: int | None
    scheduled: bool
    this_update: datetime
    next_update: datetime
    feed_sequence: int
    entries: int
    tbs_digest: bytes
    """Made with the hash of the signature algorithm: what the token signs."""


def partitions_in_use(connection: Connection) -> list[Partition]:
    """Return the partitions in which certificates exist, in the order of their numbers."""
    rows = connection.execute(
        select(
            crl_partition.c.id,
            crl_partition.c.issuer_key_identifier,
            crl_partition.c.number,
            crl_partition.c.uri,
            crl_partition.c.complete_uri,
        )
        .where(crl_partition.c.issued > 0)
        .order_by(crl_partition.c.issuer_key_identifier, crl_partition.c.number)
    )
    return [Partition(*row) for row in rows]


def all_scopes(connection: Connection) -> list[Scope]:
    """Return every scope, in the order in which they came to be."""
    return [Scope(*row) for row in connection.execute(_SCOPES.order_by(crl_scope.c.id))]


_SCOPES = select(
    crl_scope.c.id,
    crl_scope.c.issuer_key_identifier,
    crl_scope.c.partition_id,
    crl_scope.c.uri,
    crl_scope.c.last_number,
)


def scope_by_id(connection: Connection, scope_id: int) -> Scope:
    """Return a scope as it stands now."""
    return Scope(*connection.execute(_SCOPES.where(crl_scope.c.id == scope_id)).one())


def add_scope(connection: Connection, issuer_key_identifier: bytes, partition_id: int, uri: str) -> None:
    """Add a scope, before its first CRL."""
    connection.execute(
        insert(crl_scope).values(
            issuer_key_identifier=issuer_key_identifier, partition_id=partition_id, uri=uri, last_number=0
        )
    )


_ISSUES: Select[Any] = select(
    crl_issue.c.id,
    crl_issue.c.number,
    crl_issue.c.base_number,
    crl_issue.c.scheduled,
    crl_issue.c.this_update,
    crl_issue.c.next_update,
    crl_issue.c.feed_sequence,
    crl_issue.c.entries,
    crl_issue.c.file_sha256,
).where(crl_issue.c.published_at.is_not(None))


def last_full(connection: Connection, scope_id: int, *, scheduled: bool = False) -> Issue | None:
    """Return the last CRL published of a scope that is no delta; with `scheduled`, the last scheduled one."""
    question = _ISSUES.where(crl_issue.c.scope_id == scope_id, crl_issue.c.base_number.is_(None))
    if scheduled:
        question = question.where(crl_issue.c.scheduled)
    return _last(connection, question)


def last_delta(connection: Connection, scope_id: int) -> Issue | None:
    """Return the last delta CRL published of a scope."""
    return _last(
        connection,
        _ISSUES.where(crl_issue.c.scope_id == scope_id, crl_issue.c.base_number.is_not(None)),
    )


def _last(connection: Connection, question: Select[Any]) -> Issue | None:
    row = connection.execute(question.order_by(crl_issue.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Issue(*row)


def reserve_issues(
    connection: Connection, scope: Scope, issues: Sequence[NewIssue], reserved_at: datetime
) -> list[int]:
    """Record number and digest of certificate lists, and use up the number, before the token signs.

    Args:
        connection: a writing transaction that holds the scope's lease.
        scope: as it stood when the number was chosen.
        issues: a full CRL, a delta, or both with the same number.
        reserved_at: when.

    Returns:
        Their row numbers.

    Raises:
        LeaseLost: another process has used up a number of the scope since.
    """
    moved = connection.execute(
        update(crl_scope)
        .where(crl_scope.c.id == scope.id, crl_scope.c.last_number == scope.last_number)
        .values(last_number=issues[0].number)
    )
    if moved.rowcount != 1:
        raise LeaseLost("another process issued a CRL meanwhile", place=f"CRL scope {scope.uri}")
    return [
        connection.execute(
            insert(crl_issue)
            .values(
                scope_id=scope.id,
                number=issue.number,
                base_number=issue.base_number,
                scheduled=issue.scheduled,
                this_update=issue.this_update,
                next_update=issue.next_update,
                feed_sequence=issue.feed_sequence,
                entries=issue.entries,
                tbs_digest=issue.tbs_digest,
                reserved_at=reserved_at,
            )
            .returning(crl_issue.c.id)
        ).scalar_one()
        for issue in issues
    ]


def complete_issue(
    connection: Connection, issue_id: int, *, signature: bytes, file_sha256: bytes, published_at: datetime
) -> None:
    """Record that a reserved certificate list is signed and published; its file is renamed once that is committed."""
    connection.execute(
        update(crl_issue)
        .where(crl_issue.c.id == issue_id)
        .values(signature=signature, file_sha256=file_sha256, published_at=published_at)
    )
