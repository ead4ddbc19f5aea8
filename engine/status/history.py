"""Where certificates stand, and how they came there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from engine.errors import InputRejected
from engine.status.act_request import one_line
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Origin
from engine.store.schema import EPOCH, CertificateState
from engine.store.status_history import StoredAct, acts_on_items
from engine.store.statuses import StoredStatus, items_of_cards, items_of_serials, statuses_of_items
from engine.x509.serial_numbers import SERIAL_OCTETS


@dataclass(frozen=True, slots=True)
class StandingHold:
    """A hold that stands."""

    origin: Origin
    on_behalf_of: str
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """Where an issued certificate stands.

    Attributes:
        item_id: its item.
        serial: its serial, 16 octets.
        state: good, held or revoked.
        since: when it was revoked or became held; None while good.
        reason: None while good.
        holds: the holds that stand, oldest first.
        accepted_at: when the subscriber accepted it; None if not yet.
    """

    item_id: int
    serial: bytes
    state: CertificateState
    since: datetime | None
    reason: CrlReason | None
    holds: tuple[StandingHold, ...]
    accepted_at: datetime | None


@dataclass(frozen=True, slots=True)
class History:
    """Some certificates, and every act that touched one of them, oldest first."""

    certificates: list[CertificateStatus]
    acts: list[StoredAct]


def status_of_items(connection: Connection, item_ids: list[int]) -> dict[int, CertificateStatus]:
    """Return where those items stand that are issued certificates."""
    found = statuses_of_items(connection, sorted(item_ids))
    return {item_id: _status(item_id, stored) for item_id, stored in found.items()}


def _status(item_id: int, stored: StoredStatus) -> CertificateStatus:
    standing = stored.standing
    return CertificateStatus(
        item_id,
        standing.serial,
        CertificateState(standing.state),
        None if standing.since is None else EPOCH + timedelta(microseconds=standing.since),
        None if standing.reason is None else CrlReason(standing.reason),
        tuple(
            StandingHold(Origin(hold.origin), hold.on_behalf_of, hold.placed_at)
            for hold in stored.holds
            if hold.lifted_at is None
        ),
        stored.accepted_at,
    )


def history_of(connection: Connection, subject: str) -> History:
    """Return the history of a certificate, or of a card's certificates.

    Args:
        connection: a snapshot.
        subject: a serial (32 hexadecimal digits, colons allowed) or else a card number.

    Raises:
        InputRejected: there is no such certificate or card.
    """
    items = [item_id for found in _named(connection, subject).values() for item_id in found]
    certificates = list(status_of_items(connection, items).values())
    if not certificates:
        raise InputRejected(
            "there is no such certificate",
            place="certificate",
            value=subject,
            rule="a serial or a card number",
        )
    return History(certificates, acts_on_items(connection, [found.item_id for found in certificates]))


def _named(connection: Connection, subject: str) -> dict[str, list[int]]:
    try:
        octets = bytes.fromhex(subject.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) == SERIAL_OCTETS:
        return items_of_serials(connection, [octets.hex().upper()])
    return items_of_cards(connection, [one_line("certificate", subject)])
