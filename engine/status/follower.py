"""The follower: keeps a host's status store up with the record, without a token and without a PIN.

It reads the change feed on from where the store stands. An entry says which cards to look at; what is written is what
the record says of them now: standings, and the stored answer if it is of this very revision. So a change of status
takes the old answer out of the store in the same step that brings the new standing (withdrawal), entries may be read
twice, and a rebuild is the same step for all cards.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import trio
from sqlalchemy import Connection, func, select

from engine.authority.context import AuthorityContext
from engine.errors import StoreError
from engine.metrics.catalogue import (
    FOLLOWER_FAILURES,
    FOLLOWER_POSITION,
    FOLLOWER_STEP_DURATION,
    STATUS_STORE_MAP,
    STATUS_STORE_USED,
)
from engine.metrics.registry import Counter, Metrics
from engine.status.record_source import CardRecordSource, entries_for
from engine.status.service import Service, run_service
from engine.status.status_store import Freshness
from engine.status.status_store_writer import StatusWriter, new_generation, open_current
from engine.store.schema import card
from engine.store.status_changes import changes_after, last_change

POLL_SECONDS = 0.1
"""Between two looks at the feed: half of it is what a withdrawal waits on average (bench.ocsp, withdrawal)."""

HEARTBEAT_SECONDS = 2
"""A store that stands still says so at least this often: well under the bound at which readers refuse it."""

ENTRIES_AT_ONCE = 1_000
"""Feed entries taken in one step at most: so many changes of status are half a second's work."""

CARDS_IN_A_STEP = 20_000
"""Cards of the entries taken in one step, about: half a second's work (25,600 cards: 0.6 s), so that for a host that
was away a withdrawal waits no longer than for two steps."""

CARDS_AT_ONCE = 5_000
"""Cards of one transaction in a rebuild: some ten megabytes. A guess."""


class Follower:
    """Follows the feed into a status store.

    Args:
        context: the record, and who issues and answers.
        directory: the status store.

        metrics: of the process; None = what is counted is for nobody.

    Attributes:
        is_behind: whether the last step left entries for the next one.
    """

    def __init__(self, context: AuthorityContext, directory: Path, metrics: Metrics | None = None) -> None:
        self._context = context
        self._directory = directory
        self.is_behind = False
        metrics = metrics or Metrics()
        self._steps = metrics.histogram(FOLLOWER_STEP_DURATION)
        self._position = metrics.gauge(FOLLOWER_POSITION)
        self._used, self._map = metrics.gauge(STATUS_STORE_USED), metrics.gauge(STATUS_STORE_MAP)
        self._writer: StatusWriter | None = None
        self._source = CardRecordSource(context)
        self._parties = b""

    def open(self) -> None:
        """Open the store, building it first where there is none or where the record was put back behind it.

        Raises:
            StoreError: the record or the status store failed.
        """
        self._writer = open_current(self._directory)
        if self._writer is None:
            self.rebuild()
            return
        with self._context.store.read() as connection:
            is_ahead = _is_ahead(connection, self._writer.freshness())
        if is_ahead:
            self.rebuild()

    def close(self) -> None:
        """Close the store; what was written stays."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def rebuild(self) -> int:
        """Build the store anew out of the record; readers change over when it is complete.

        Returns:
            How many cards it has.

        Raises:
            StoreError: the record or the status store failed; the old store stays in use.
        """
        self.close()
        try:
            return self._build()
        finally:
            self._writer = open_current(self._directory)  # the new one; or, after an error, that of before

    def _build(self) -> int:
        cards = 0
        began = self._now()
        with self._context.store.read() as connection:
            # Before any card is read: what changes meanwhile is read again.
            sequence = last_change(connection)
            last_card = connection.execute(select(func.max(card.c.id))).scalar_one_or_none() or 0
        with new_generation(self._directory) as writer:
            self._parties = self._source.parties()
            writer.write([], Freshness(0, began), self._parties)
            for after in range(0, last_card, CARDS_AT_ONCE):
                with self._context.store.read() as connection:
                    records = list(self._source.range(connection, after, after + CARDS_AT_ONCE))
                writer.write(records, Freshness(0, began))
                cards += len(records)
            writer.write([], Freshness(sequence, began))  # so much is known, and no more
        return cards

    def step(self) -> int:
        """Take the next entries of the feed into the store; return how many there were.

        With none, the store's heartbeat is renewed where it is due. Where the record was put back behind the store, it
        is built anew: the entries that come next would be missed.

        Raises:
            StoreError: the record or the status store failed; the store is as it was.
        """
        began = perf_counter()
        taken = self._step()
        if taken:  # a heartbeat is no measure
            self._steps.observe(perf_counter() - began)
        writer = self._opened()
        self._position.set(writer.freshness().sequence)
        for gauge, octets in zip((self._used, self._map), writer.octets(), strict=True):
            gauge.set(octets)
        return taken

    def _step(self) -> int:
        writer = self._opened()
        before = writer.freshness()
        now = self._now()
        with self._context.store.read() as connection:
            waiting = changes_after(connection, before.sequence, ENTRIES_AT_ONCE)
            entries = entries_for(waiting, CARDS_IN_A_STEP)
            records = list(self._source.touched(connection, entries))
            is_ahead = not entries and _is_ahead(connection, before)
        self.is_behind = len(entries) < len(waiting) or len(waiting) == ENTRIES_AT_ONCE
        if is_ahead:
            self.rebuild()
        elif entries or not 0 <= now - before.written_at < HEARTBEAT_SECONDS:
            sequence = entries[-1].sequence if entries else before.sequence
            if self.is_behind:  # what is known is no newer than the last of these
                now = min(now, entries[-1].changed_at // 1_000_000)
            parties = self._source.parties()
            writer.write(records, Freshness(sequence, now), None if parties == self._parties else parties)
            self._parties = parties  # not before they are in the store
        return len(entries)

    def _opened(self) -> StatusWriter:
        if self._writer is None:
            raise StoreError("the status store is not open", place=str(self._directory))
        return self._writer

    def _now(self) -> int:
        return int(self._context.clock.now().timestamp())


def _is_ahead(connection: Connection, store: Freshness) -> bool:
    """Whether a store has seen entries that the feed does not have: from there on the two went different ways."""
    return last_change(connection) < store.sequence


async def serve(service: Service) -> None:
    """Follow the feed until told to stop; a record that cannot be read is tried again."""
    directory = Path(service.context.configuration.ocsp.status_store)
    follower = Follower(service.context, directory, service.metrics)
    failures = service.metrics.counter(FOLLOWER_FAILURES)
    # Two writers would each put their own, older or newer, reading of a card in the other's place.
    with service.context.home.lock("status-store", "following"):
        await trio.to_thread.run_sync(follower.open)
        service.log.info("following")
        try:
            while not service.stop.is_set():
                await _step(service, follower, failures)
        finally:
            follower.close()


async def _step(service: Service, follower: Follower, failures: Counter) -> None:
    try:
        await trio.to_thread.run_sync(follower.step)
    except StoreError as error:
        failures.add()
        service.log.error("step-failed", message=str(error))
        await service.pause(1.0)
        return
    if not follower.is_behind:
        await service.pause(POLL_SECONDS)


if __name__ == "__main__":
    run_service("follower", serve)
