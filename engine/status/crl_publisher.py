"""The CRL publisher: a process that keeps the CRL of every scope up with the calendar and with changes of status.

    python -P -m engine.status.crl_publisher --home H

It decides by the record alone, so it may be stopped and started at will, and several hosts may run one: whoever holds a
scope's lease looks once more whether there is anything left to do. Once a day it also applies the 18-month rule, whose
holds go into the CRLs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter

import trio

from engine.authority.back_off import BackOff
from engine.authority.observed import observe_pool
from engine.authority.role_certificates import prove_key
from engine.authority.signing import open_pool, open_token_again
from engine.errors import LeaseLost, SealmintError, SignerFailed, SignerUnavailable, StoreError
from engine.metrics.catalogue import CRL_FAILURES, CRL_GENERATION_DURATION
from engine.pkcs11.pin import Pin
from engine.status.crl_generation import CrlGenerator, pool_signer
from engine.status.crl_schedule import PendingChanges, is_change_due, is_daily_due
from engine.status.crl_scopes import add_missing_scopes
from engine.status.daily_suspension import suspend_every_day
from engine.status.responder_renewal import renew_in_time
from engine.status.service import Service, run_service
from engine.store.crl_entries import changes_by_partition
from engine.store.crls import COMPLETE, Issue, Scope, all_scopes, last_delta, last_full
from engine.store.status_changes import last_change

POLL_SECONDS = 1.0
"""Between two looks at the record. A guess: far less than `on_change_minutes` ever is, unless that is 0."""

FIRST_REST = 1.0
LONGEST_REST = 60.0
"""Seconds after which something that failed is tried again: twice as long each time. A guess: what the record or a
file system has is over within a minute, or makes sixty lines an hour. A token that is away is tried more often."""


@dataclass(slots=True)
class Rest:
    """How long to leave alone what failed."""

    seconds: float = 0.0
    until: float = 0.0
    """Trio's time."""

    def after_failure(self) -> float:
        """Rest, longer each time; return how long, in seconds."""
        self.seconds = min(max(FIRST_REST, 2 * self.seconds), LONGEST_REST)
        self.until = trio.current_time() + self.seconds
        return self.seconds

    def end(self) -> None:
        """What failed works again."""
        self.seconds = self.until = 0.0


@dataclass(slots=True)
class _Known:
    """A scope as the publisher last saw it."""

    row: Scope
    scheduled: Issue | None
    is_settled: bool
    """Whether what was published last is in its place and the last attempt here went well; else another is due."""
    rest: Rest = field(default_factory=Rest)


class CrlPublisher:
    """Publishes what is due.

    Args:
        service: the process it runs in.
        generator: makes the CRLs.
    """

    def __init__(self, service: Service, generator: CrlGenerator) -> None:
        self._service = service
        self._context = service.context
        self._generator = generator
        self._scopes: dict[int, _Known] = {}
        self._pending = PendingChanges()
        self._position: int | None = None
        self._rest, self._away = Rest(), BackOff(first=POLL_SECONDS)
        self._durations = service.metrics.histogram(CRL_GENERATION_DURATION)
        self._failures = service.metrics.counter(CRL_FAILURES)

    async def run(self) -> None:
        """Publish what is due until told to stop; a CRL that is being made is finished first.

        What fails is told in the log and tried again after a rest.

        Raises:
            SignerFailed: the token refused for good.
        """
        while not self._service.stop.is_set():
            try:
                await trio.to_thread.run_sync(self.look)
                await self._publish_due()
                self._rest.end()
                self._away.end()
            except StoreError as error:
                self._tell("waiting", error, seconds=self._rest.after_failure())
            except SignerUnavailable as error:
                if self._away.attempts == 0:  # once, however long it is away
                    self._tell("waiting", error)
                await self._service.pause(self._away.next())
                continue
            await self._service.pause(max(POLL_SECONDS, self._rest.seconds))

    def look(self) -> None:
        """Read what is new in the record: scopes, and changes of status. Blocks.

        Raises:
            StoreError: the record could not be read.
        """
        store = self._context.store
        add_missing_scopes(store)
        with store.read() as connection:
            sequence = last_change(connection)
            rows = all_scopes(connection)
        for row in rows:
            if row.id not in self._scopes:
                self._refresh(row)
        if self._position is None:
            self._position = self._oldest_position()
        if sequence > self._position:
            self._read_changes(self._position, sequence)
            self._position = sequence

    def due(self) -> list[int]:
        """Return the scopes whose CRL is due now, but for those that rest."""
        section = self._context.configuration.crl
        now, on_change = self._context.clock.now(), timedelta(minutes=section.on_change_minutes)
        return [
            scope_id
            for scope_id, known in self._scopes.items()
            if known.rest.until <= trio.current_time()
            and (
                not known.is_settled
                or is_daily_due(known.scheduled, now, section.daily_at)
                or is_change_due(self._pending.oldest(scope_id), now, on_change)
            )
        ]

    async def _publish_due(self) -> None:
        for scope_id in self.due():
            if self._service.stop.is_set():
                return
            await self._publish(self._scopes[scope_id])

    async def _publish(self, known: _Known) -> None:
        began, known.is_settled = perf_counter(), False
        try:
            published = await self._generator.publish(known.row.id, only_if_needed=True)
        except (StoreError, SignerFailed, SignerUnavailable) as error:
            if not isinstance(error, LeaseLost):
                raise
            known.rest.after_failure()  # another host is at it
        except SealmintError as error:
            self._failures.add()
            self._tell("crl-failed", error, uri=known.row.uri, seconds=known.rest.after_failure())
        else:
            known.rest.end()
            known.is_settled = True
            if published:
                self._durations.observe(perf_counter() - began)
            for one in published:
                self._service.log.info(
                    "crl-published",
                    scope=one.scope,
                    number=one.issue.number,
                    base_number=one.issue.base_number,
                    entries=one.issue.entries,
                    this_update=one.issue.this_update.isoformat(),
                )
        await trio.to_thread.run_sync(self._refresh, known.row)

    def _refresh(self, row: Scope) -> int:
        """Read what was last published of a scope, by whomever; return the sequence number up to which that goes."""
        with self._context.store.read() as connection:
            lists = (last_full(connection, row.id), last_delta(connection, row.id))
            scheduled = last_full(connection, row.id, scheduled=True)
        known = self._scopes.get(row.id)
        if known is None:
            is_settled = self._generator.placement.is_in_place(row.id)
            known = self._scopes[row.id] = _Known(row, scheduled, is_settled)
        known.scheduled = scheduled
        sequence = max((issue.feed_sequence for issue in lists if issue), default=0)
        self._pending.published(row.id, sequence)
        return sequence

    def _oldest_position(self) -> int:
        return min((self._refresh(known.row) for known in list(self._scopes.values())), default=0)

    def _read_changes(self, after: int, up_to: int) -> None:
        with self._context.store.read() as connection:
            changed = changes_by_partition(connection, after, up_to)
        for scope_id, known in self._scopes.items():
            mine = [
                change
                for partition, change in changed.items()
                if known.row.partition_id in (COMPLETE, partition)
            ]
            if mine:
                first = min(first for _, first, _ in mine)
                self._pending.add(scope_id, max(last for *_, last in mine), first)
                self._refresh(known.row)

    def _tell(self, event: str, error: SealmintError, **particulars: object) -> None:
        self._service.log.error(event, error=type(error).__name__, message=str(error), **particulars)


async def serve(service: Service) -> None:
    """Publish CRLs until told to stop, apply the 18-month rule every day, and renew the OCSP responder in time.

    While the token is away, it looks again and again whether it is back.

    Raises:
        SignerFailed: the token refused for good: a wrong PIN, a missing key or mechanism.
    """
    pin = await service.pin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(suspend_every_day, service)
        nursery.start_soon(renew_in_time, service, pin)  # this process has the CA key, which must certify it
        await _publish_until_stopped(service, pin)


async def _publish_until_stopped(service: Service, pin: Pin) -> None:
    back_off = BackOff()
    while not service.stop.is_set():
        try:
            await _serve_on_token(service, pin)
        except SignerUnavailable as error:
            if back_off.attempts == 0:
                service.log.error("waiting", error=type(error).__name__, message=str(error))
            await service.pause(back_off.next())


async def _serve_on_token(service: Service, pin: Pin) -> None:
    home, configuration, ca = (
        service.context.home,
        service.context.configuration,
        service.context.authority.ca,
    )
    token = await trio.to_thread.run_sync(open_token_again, home, configuration)
    await trio.to_thread.run_sync(prove_key, token, pin, ca)
    async with open_pool(home, configuration, token, pin, [ca.key], 1) as pool:
        service.log.info("serving")
        with observe_pool(service.control, pool, service.context):
            await CrlPublisher(service, CrlGenerator(service.context, pool_signer(pool))).run()


if __name__ == "__main__":
    run_service("crl-publisher", serve)
