"""The accounts of relying parties that pay for OCSP (CPS 2.5.2, 4.4.12), in the record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from engine.store.schema import relying_party_account


@dataclass(frozen=True, slots=True)
class RelyingPartyAccount:
    """Who pays for OCSP, and how they are recognised.

    Attributes:
        name: never given twice, not even after the account was closed.
        token_sha256: SHA-256 over the path token; None: recognised by address only.
        address_ranges: networks, such as `203.0.113.0/24`, whose requests are theirs.
        monthly_quota: answers in a calendar month of Taipei; None: no limit.
        opened_at: when the account was opened.
        closed_at: when it was closed; None while it is open.
    """

    name: str
    token_sha256: bytes | None
    address_ranges: tuple[str, ...]
    monthly_quota: int | None
    opened_at: datetime
    closed_at: datetime | None = None


def all_accounts(connection: Connection) -> list[RelyingPartyAccount]:
    """Return every account, the closed ones too, by name."""
    rows = connection.execute(select(relying_party_account).order_by(relying_party_account.c.name))
    return [_account(row) for row in rows]


def open_accounts(connection: Connection) -> list[RelyingPartyAccount]:
    """Return the accounts that are open, by name."""
    return [account for account in all_accounts(connection) if account.closed_at is None]


def insert_account(connection: Connection, account: RelyingPartyAccount) -> None:
    """Write a new account.

    Raises:
        StoreError: there is one of that name (raised where the transaction ends).
    """
    connection.execute(
        insert(relying_party_account).values(
            name=account.name,
            token_sha256=account.token_sha256,
            address_ranges=json.dumps(account.address_ranges),
            monthly_quota=account.monthly_quota,
            opened_at=account.opened_at,
        )
    )


def mark_closed(connection: Connection, name: str, at: datetime) -> bool:
    """Close an account; return whether there was one of that name that was open."""
    statement = (
        update(relying_party_account)
        .where(relying_party_account.c.name == name, relying_party_account.c.closed_at.is_(None))
        .values(closed_at=at)
    )
    return connection.execute(statement).rowcount == 1


def _account(row: Row[tuple[object, ...]]) -> RelyingPartyAccount:
    return RelyingPartyAccount(
        name=row.name,
        token_sha256=row.token_sha256,
        address_ranges=tuple(json.loads(row.address_ranges)),
        monthly_quota=row.monthly_quota,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
    )
