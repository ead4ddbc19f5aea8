"""The meter of a listener process: counts in memory, and takes the counts to the spool now and then.

Twice in `[metering].flush_seconds`, and at the end of each day in Taipei, what was counted since is appended to this
process's file of the spool, and what all processes of the host have appended is read back. So quotas are exact to what
is answered in one such interval, a killed process loses no more than that, and no answer waits for a file.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from engine.clock import Clock
from engine.config import MeteringSection
from engine.errors import InputRejected
from engine.usage.account_list import ListedAccount, read_account_list
from engine.usage.spool import Usage, month_of, seconds_to_midnight
from engine.usage.spool_sums import SpoolSums
from engine.usage.spool_writer import SpoolWriter
from responders.http_times import whole_seconds
from responders.metering.account_book import AccountBook, Tally

FLUSHES_IN_AN_INTERVAL = 2
"""What another process answered is unknown here until it has written it and this one has read it, each at its own time:
with one flush in an interval that could be nearly two intervals."""

_log = logging.getLogger(__name__)


class _ReadBack(NamedTuple):
    """What a flush found."""

    is_complete: bool
    """Whether everything taken is written, and everything written is read."""
    accounts: list[ListedAccount] | None
    """Where the list has changed."""
    troubles: list[str]


class Meter:
    """Counts what relying parties ask. One for each process, for its event loop only; made by `open_meter`.

    Args:
        settings: where accounts and spool are, how often counts are written.
        clock: tells days and months.

    Attributes:
        book: finds accounts; another object when their list has changed.
        anonymous: whether those without an account are answered.
    """

    def __init__(self, settings: MeteringSection, clock: Clock) -> None:
        self.anonymous = settings.anonymous
        self._settings = settings
        self._now = whole_seconds(clock)
        self._accounts = Path(settings.accounts)
        self._accounts_seen: object = None  # which state of the file was read last
        self._tallies: dict[str, Tally] = {}
        self.book = AccountBook([], self._tallies)
        self._began = self._now()
        self._writer = SpoolWriter(Path(settings.spool))
        self._sums = SpoolSums(Path(settings.spool), month_of(self._began))
        self._flushing = trio.Lock()
        self._said = ""

    async def flush(self) -> None:
        """Write what was counted since the last time, and learn what the other processes counted, and new accounts.

        What cannot be written stays in memory and is written the next time. Cancelled, it ends what it has begun.
        """
        async with self._flushing:
            self._take()
            read_back = await trio.to_thread.run_sync(self._exchange)
            if read_back.accounts is not None:
                self.book = AccountBook(read_back.accounts, self._tallies)
            for tally in self._tallies.values():
                if read_back.is_complete:
                    tally.in_flight = 0
                spent = self._sums.answers[tally.account] + tally.in_flight + tally.answers
                tally.left = tally.quota - spent
            self._say(read_back.troubles)

    async def run(self) -> None:
        """Flush in time until cancelled."""
        pause = self._settings.flush_seconds / FLUSHES_IN_AN_INTERVAL
        while True:
            await trio.sleep(min(pause, seconds_to_midnight(self._now())))
            await self.flush()

    def close(self) -> None:
        """Close the spool. What was not flushed is lost."""
        self._writer.close()

    def _take(self) -> None:
        """Have the writer write what was counted since the last time, unless it is still at what was before."""
        if self._writer.has_unwritten:
            return
        usages = []
        for tally in self._tallies.values():
            if tally.answers or tally.refused:
                usages.append(Usage(self._began, tally.account, tally.answers, tally.refused))
            tally.in_flight += tally.answers
            tally.answers = tally.refused = 0
        self._began = self._now()
        if usages:
            self._writer.put(usages)

    def _exchange(self) -> _ReadBack:
        """Write and read files, in a thread."""
        troubles = []
        try:
            self._writer.write()
        except OSError as error:
            troubles.append(f"counts cannot be written yet: {error}")
        month = month_of(self._now())
        if month != self._sums.month:
            self._sums = SpoolSums(Path(self._settings.spool), month)
        try:
            self._sums.read_on()
        except OSError as error:
            troubles.append(f"the spool cannot be read: {error}")
        is_complete = not troubles
        troubles += self._sums.damaged.values()
        try:
            accounts = self._changed_accounts()
        except InputRejected as error:
            accounts = None
            troubles.append(str(error))
        return _ReadBack(is_complete, accounts, troubles)

    def _changed_accounts(self) -> list[ListedAccount] | None:
        try:
            found = self._accounts.stat()
            seen: object = (found.st_ino, found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            seen = "there is none"
        if seen == self._accounts_seen:
            return None
        accounts = read_account_list(self._accounts)
        self._accounts_seen = seen
        return accounts

    def _say(self, troubles: list[str]) -> None:
        said = "; ".join(troubles)
        if said and said != self._said:
            _log.error("metering: %s", said)
        self._said = said


@asynccontextmanager
async def open_meter(settings: MeteringSection, clock: Clock) -> AsyncIterator[Meter]:
    """Run a meter while the block runs; it knows accounts and counts before, and has written everything after.

    Args:
        settings: `[metering]`.
        clock: tells days and months.
    """
    meter = Meter(settings, clock)
    try:
        await meter.flush()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meter.run)
            yield meter
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await meter.flush()
            meter.close()
