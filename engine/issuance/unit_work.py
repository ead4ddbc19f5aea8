"""One work unit, step by step: read, build, check, reserve — the token signs — verify, complete.

The steps here are plain functions that run on a thread; `worker.py` strings them together. Each of the two commits
carries its audit record, so neither a reservation nor a certificate exists without one.

Workers commit beside each other, and take their locks in one order, so that none waits for one that waits for it: the
unit, its partition, the head of the feed, the cards, the head of the audit log. Both heads make the others wait until
the commit, so they come as late as can be; the cards come behind the first because two units may share some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, select

from engine.algorithms import SignatureAlgorithm
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.errors import InputRejected, LintFailed, SealmintError, SignatureInvalid, TokenError
from engine.fault_points import fault_point
from engine.json_log import Log
from engine.kinds import Carrier, Kind, Rank, Usage
from engine.metrics.spending import StepMeter
from engine.store.certificates import (
    PlannedItem,
    Reserved,
    Signed,
    complete,
    record_failures,
    reserve,
    unit_items,
)
from engine.store.database import Store
from engine.store.schema import crl_partition, to_microseconds
from engine.store.standings import raise_revisions_of_unit
from engine.store.status_changes import ChangeKind, append_changes
from engine.store.work_units import Lease, mark_completed, mark_reserved
from engine.x509.certificate import verifier
from engine.x509.issuer import Issuer
from engine.x509.periods import Period
from engine.x509.profiles import CertificateProfile, ProfileSet
from engine.x509.serial_numbers import SerialNumbers
from engine.x509.tbs_certificate import TbsTemplate, compile_template
from engine.x509.tbs_check import CheckedTbs, TbsCheck, compile_check
from engine.x509.validity import validity_for

_log: Log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReservedItem:
    """An item whose TBS is stored: all that may be handed to the token."""

    item_id: int
    not_after: int
    tbs: CheckedTbs


@dataclass(frozen=True, slots=True)
class ReservedUnit:
    """A unit between its two commits."""

    lease: Lease
    items: Sequence[ReservedItem]
    failed: Sequence[tuple[int, str]]
    """Items that could not be built, with the reason."""


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """A finished unit."""

    unit_id: int
    issued: int
    failed: int


_ProfileKey = tuple[str, str, str, str]


class UnitWork:
    """The steps of a unit.

    Args:
        store: the open store.
        clock: tells the time of certificates and records.
        profiles: the certificate profiles.
        issuer: the CA that signs.
        issuer_public_key: the CA's SubjectPublicKeyInfo (DER), with which every signature is verified.
        validity: the period that the policy asks for; None leaves it to the profile.
        actor: who stands in the audit records.
        lease_time: how long a lease is prolonged by each commit.
        meter: takes the CPU time of each step.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        profiles: ProfileSet,
        issuer: Issuer,
        issuer_public_key: bytes,
        validity: Period | None,
        actor: str,
        lease_time: timedelta,
        meter: StepMeter,
    ) -> None:
        self._store = store
        self._clock = clock
        self._profiles = profiles
        self._issuer = issuer
        self._verify: Callable[[bytes, bytes], None] = verifier(issuer_public_key, issuer.algorithm)
        self._validity = validity
        self._actor = actor
        self._lease_time = lease_time
        self._meter = meter
        self._serial_numbers = SerialNumbers(clock)

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """With what the CA key signs."""
        return self._issuer.algorithm

    def reserve(self, lease: Lease) -> ReservedUnit:
        """Build and check the unit's TBSs and commit them, before the token sees any of them.

        A unit that an earlier worker reserved is taken as it is stored: the same TBSs are signed, so that no serial
        is orphaned and no second certificate made.

        Raises:
            LeaseLost: another worker holds the unit now; nothing was stored.
            StoreError: the store refused; nothing was stored.
        """
        with self._meter.step("read"), self._store.read() as connection:
            items = unit_items(connection, lease.unit_id)
            uris = _partition_uris(connection, lease.partition_id)
        stored = [_as_stored(item) for item in items if item.tbs is not None]
        fresh = [item for item in items if item.tbs is None]
        reserved, failed = self._build(fresh, uris)
        fault_point("unit.built")
        if reserved or not lease.reserved:
            with self._meter.step("reserve"):
                self._commit_reservation(lease, reserved)
        fault_point("unit.reserved")
        new = [ReservedItem(r.item_id, r.not_after, CheckedTbs(r.tbs)) for r in reserved]
        return ReservedUnit(lease, [*stored, *new], failed)

    def _build(
        self, items: Sequence[PlannedItem], uris: tuple[str, str]
    ) -> tuple[list[Reserved], list[tuple[int, str]]]:
        now = self._clock.now()
        compiled: dict[_ProfileKey, tuple[TbsTemplate, TbsCheck, int]] = {}
        reserved: list[Reserved] = []
        failed: list[tuple[int, str]] = []
        with self._meter.step("build"):
            serials = self._serial_numbers.take(len(items))
            built: list[tuple[PlannedItem, bytes, bytes, TbsCheck, int]] = []
            for item, serial in zip(items, serials, strict=True):
                key = (item.kind, item.usage, item.rank, item.carrier)
                try:
                    if key not in compiled:
                        compiled[key] = self._compile(key, now, uris)
                    template, check, not_after = compiled[key]
                    tbs = template.build(serial, item.subject, item.public_key, item.uniform_number)
                except InputRejected as error:
                    failed.append((item.item_id, str(error)))
                else:
                    built.append((item, serial, tbs, check, not_after))
        with self._meter.step("check"):
            for item, serial, tbs, check, not_after in built:
                try:
                    check.check(
                        tbs,
                        serial=serial,
                        subject=item.subject,
                        public_key=item.public_key,
                        uniform_number=item.uniform_number,
                    )
                except LintFailed as error:
                    failed.append((item.item_id, str(error)))
                else:
                    reserved.append(Reserved(item.item_id, serial, not_after, tbs))
        return reserved, failed

    def _compile(
        self, key: _ProfileKey, now: datetime, uris: tuple[str, str]
    ) -> tuple[TbsTemplate, TbsCheck, int]:
        kind, usage, rank, carrier = key
        profile: CertificateProfile = self._profiles.certificate(
            Kind(kind), Usage(usage), Rank(rank), Carrier(carrier)
        )
        validity = validity_for(profile, now, self._issuer.not_after, requested=self._validity)
        return (
            compile_template(profile, self._issuer, validity, uris),
            compile_check(profile, self._issuer, validity, uris),
            to_microseconds(validity.not_after),
        )

    def _commit_reservation(self, lease: Lease, reserved: Sequence[Reserved]) -> None:
        with self._store.write_beside() as connection:
            mark_reserved(connection, lease, self._clock.now() + self._lease_time)
            reserve(connection, reserved)
            append_record(
                connection,
                self._clock,
                Event.UNIT_RESERVED,
                actor=self._actor,
                body={
                    "run": lease.run_id,
                    "unit": lease.unit_id,
                    "fence": lease.fence,
                    "reserved": len(reserved),
                    # Over the TBSs in the order of their items.
                    "tbs_sha256": hashlib.sha256(b"".join(r.tbs for r in reserved)).hexdigest(),
                },
            )

    def complete(self, unit: ReservedUnit, outcomes: Sequence[bytes | TokenError]) -> UnitOutcome:
        """Verify every signature with the CA key and commit the unit.

        Args:
            unit: as reserved.
            outcomes: a signature or an error for each item, in order.

        Returns:
            How many certificates the unit has now, and how many of its items failed.

        Raises:
            LeaseLost: another worker holds the unit now; nothing was stored.
            StoreError: the store refused; nothing was stored. The same TBSs can be signed again.
        """
        fault_point("unit.signed")
        signed: list[Signed] = []
        failed = list(unit.failed)
        with self._meter.step("verify"):
            for item, outcome in zip(unit.items, outcomes, strict=True):
                try:
                    if isinstance(outcome, SealmintError):
                        raise outcome
                    self._verify(item.tbs, outcome)
                except (TokenError, SignatureInvalid) as error:
                    failed.append((item.item_id, str(error)))
                else:
                    signed.append(Signed(item.item_id, item.not_after, outcome))
        with self._meter.step("complete"), self._store.write_beside() as connection:
            mark_completed(connection, unit.lease, issued=len(signed), failed=len(failed))
            complete(connection, unit.lease.partition_id, signed)
            record_failures(connection, unit.lease.unit_id, failed, self._clock.now())
            if signed:  # every responder host learns of them from the feed
                append_changes(connection, ChangeKind.ISSUED, [unit.lease.unit_id], self._clock.now())
                raise_revisions_of_unit(connection, unit.lease.unit_id, self._clock.now())
            append_record(
                connection,
                self._clock,
                Event.UNIT_COMPLETED,
                actor=self._actor,
                body={
                    "run": unit.lease.run_id,
                    "unit": unit.lease.unit_id,
                    "fence": unit.lease.fence,
                    "issued": len(signed),
                    "failed": len(failed),
                    # Over the signatures in the order of their items; each binds its reserved TBS.
                    "signatures_sha256": hashlib.sha256(b"".join(s.signature for s in signed)).hexdigest(),
                },
            )
            fault_point("unit.before-commit")
        fault_point("unit.completed")
        for item_id, reason in failed:
            _log.warning("item-failed", item=item_id, reason=reason)
        return UnitOutcome(unit.lease.unit_id, len(signed), len(failed))


def _as_stored(item: PlannedItem) -> ReservedItem:
    if item.tbs is None or item.not_after is None:
        raise LintFailed("the item has no stored TBS", place=f"item {item.item_id}")
    return ReservedItem(item.item_id, item.not_after, CheckedTbs(item.tbs))  # checked before it was stored


def _partition_uris(connection: Connection, partition_id: int) -> tuple[str, str]:
    row = connection.execute(
        select(crl_partition.c.uri, crl_partition.c.complete_uri).where(crl_partition.c.id == partition_id)
    ).one()
    return row.uri, row.complete_uri
