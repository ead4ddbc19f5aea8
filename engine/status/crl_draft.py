"""A CRL from the record to the digest that is to be signed.

All of it is read in one snapshot, so a CRL is what the record said at one sequence number of the change feed, and a
full CRL and the delta issued with it say the same (RFC 5280 section 5.2.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from engine.audit.log import check_clock
from engine.authority.context import AuthorityContext
from engine.clock import Clock
from engine.config import CrlSection
from engine.status.crl_files import delta_uri_of, file_of
from engine.status.crl_schedule import crl_number, is_daily_due
from engine.status.crl_scopes import CrlIssuer, CrlScope, describe_scope
from engine.status.crl_spool import Spool, spool_entries
from engine.store.crl_entries import changed_entries, changes_by_partition, full_entries
from engine.store.crls import Issue, NewIssue, last_delta, last_full, scope_by_id
from engine.store.schema import to_microseconds
from engine.store.status_changes import last_change
from engine.x509.revocation_list import Frame, frame_list
from engine.x509.revocation_list_extensions import ListExtensions


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate list that lacks only its signature.

    Attributes:
        spool: its entries.
        frame: what stands around them in the tbsCertList.
        new: what is recorded before it is signed, the digest included.
        paths: where its file will be.
    """

    spool: Spool
    frame: Frame
    new: NewIssue
    paths: tuple[Path, ...]

    @property
    def tbs_octets(self) -> int:
        """How long the tbsCertList is."""
        return self.frame.octets + self.spool.octets


@dataclass(frozen=True, slots=True)
class Drafts:
    """What a scope is to publish now: a full CRL, a delta, or both under one number; or nothing."""

    scope: CrlScope
    lists: tuple[Draft, ...]

    def close(self) -> None:
        """Let go of the spooled entries."""
        for draft in self.lists:
            draft.spool.close()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A scope as a snapshot shows it."""

    connection: Connection
    sequence: int
    now: datetime
    scope: CrlScope
    full: Issue | None
    scheduled: Issue | None
    delta: Issue | None

    @classmethod
    def read(
        cls, connection: Connection, scope_id: int, clock: Clock, issuers: Mapping[bytes, CrlIssuer]
    ) -> _Snapshot:
        check_clock(connection, clock)
        # First of all: on a database whose snapshots are those of single statements the entries are never older.
        sequence = last_change(connection)
        # After the snapshot began, so that no entry in it is younger than thisUpdate.
        now = clock.now().replace(microsecond=0)
        return cls(
            connection,
            sequence,
            now,
            describe_scope(connection, scope_by_id(connection, scope_id), issuers),
            last_full(connection, scope_id),
            last_full(connection, scope_id, scheduled=True),
            last_delta(connection, scope_id),
        )

    @property
    def has_changed(self) -> bool:
        """Whether a certificate in the scope changed its status since the last list."""
        after = max((issue.feed_sequence for issue in (self.full, self.delta) if issue), default=0)
        changed = changes_by_partition(self.connection, after, self.sequence)
        return not changed.keys().isdisjoint(self.scope.partitions)

    @property
    def full_has_delta(self) -> bool:
        """Whether the last full CRL was issued with a delta, and so names in freshestCRL where deltas are."""
        return bool(self.full and self.delta and self.delta.number >= self.full.number)


def draft_lists(
    context: AuthorityContext, issuers: Mapping[bytes, CrlIssuer], scope_id: int, *, only_if_needed: bool
) -> Drafts:
    """Read, spool and hash what a scope is to publish now. Blocks.

    Without deltas that is a full CRL. With deltas it is both under one number when a scheduled CRL is due, or when
    the last full CRL knows of no delta, or when it was asked for; a change of status alone brings a delta to the last
    full CRL.

    Args:
        context: the record, and the settings.
        issuers: the CA keys at hand.
        scope_id: the scope; its lease is held.
        only_if_needed: draft nothing when no scheduled CRL is due and nothing has changed.

    Raises:
        ClockWrong: the clock stands before the newest record, so thisUpdate would lie.
        ConfigurationInvalid: as `describe_scope`.
        StoreError: the record could not be read.
        OSError: the entries could not be spooled.
    """
    section = context.configuration.crl
    with context.store.read() as connection:
        snapshot = _Snapshot.read(connection, scope_id, context.clock, issuers)
        scheduled = is_daily_due(snapshot.scheduled, snapshot.now, section.daily_at)
        if only_if_needed and not scheduled and not snapshot.has_changed:
            return Drafts(snapshot.scope, ())
        drafting = _Drafting(snapshot, section, scheduled)
        if not section.delta:
            return Drafts(snapshot.scope, (drafting.full(),))
        if only_if_needed and not scheduled and snapshot.full_has_delta:
            return Drafts(snapshot.scope, (drafting.delta(),))
        return Drafts(snapshot.scope, (drafting.full(), drafting.delta()))


class _Drafting:
    """Drafts the lists of one snapshot.

    Args:
        snapshot: what is read.
        section: the settings.
        scheduled: whether the full CRL is a scheduled one.
    """

    def __init__(self, snapshot: _Snapshot, section: CrlSection, scheduled: bool) -> None:
        self._snapshot = snapshot
        self._scope = snapshot.scope
        self._section = section
        self._scheduled = scheduled
        self._directory = Path(section.directory)
        self._number = crl_number(snapshot.scope.row.last_number, snapshot.now)
        self._directory.mkdir(parents=True, exist_ok=True)

    @property
    def _expired_from(self) -> int | None:
        """From when on the expired are listed: they stay on one scheduled CRL after their end (RFC 5280 3.3)."""
        if self._section.expired_certificates or self._snapshot.scheduled is None:
            return None
        return to_microseconds(self._snapshot.scheduled.this_update)

    def full(self) -> Draft:
        snapshot = self._snapshot
        rows = full_entries(snapshot.connection, self._scope.partitions, self._expired_from)
        freshest = delta_uri_of(self._scope.uris[0]) if self._section.delta else None
        return self._draft(spool_entries(self._directory, rows), None, self._scope.uris, freshest)

    def delta(self) -> Draft:
        """The delta to the last full CRL; with the first one, one without entries that names it as its base."""
        snapshot, base = self._snapshot, self._snapshot.full
        rows = changed_entries(
            snapshot.connection,
            self._scope.partitions,
            self._expired_from,
            after=base.feed_sequence if base else snapshot.sequence,
            up_to=snapshot.sequence,
        )
        uris = tuple(delta_uri_of(uri) for uri in self._scope.uris)
        spool = spool_entries(self._directory, rows)
        return self._draft(spool, base.number if base else self._number, uris, None)

    def _draft(
        self, spool: Spool, base_number: int | None, uris: tuple[str, ...], freshest: str | None
    ) -> Draft:
        scope, now = self._scope, self._snapshot.now
        issuer = scope.issuer.issuer
        next_update = now + timedelta(hours=self._section.validity_hours)
        extensions = ListExtensions(
            issuer.key_identifier,
            self._number,
            base_number,
            None if scope.is_complete else scope.uris[0],
            freshest,
            scope.not_before if self._section.expired_certificates else None,
        )
        frame = frame_list(
            issuer, int(now.timestamp()), int(next_update.timestamp()), extensions, spool.octets
        )
        new = NewIssue(
            number=self._number,
            base_number=base_number,
            scheduled=self._scheduled,
            this_update=now,
            next_update=next_update,
            feed_sequence=self._snapshot.sequence,
            entries=spool.entries,
            tbs_digest=spool.digest(frame, issuer.algorithm.hash_name),
        )
        return Draft(spool, frame, new, tuple(file_of(self._directory, uri) for uri in uris))
