"""The journal of a service that signs on demand: what was left is recorded before it signs, the rest at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from engine.audit.digest_journal import RETRY_SECONDS, DigestJournal, JournalKind
from engine.errors import SealmintError, StoreError
from engine.status.service import Service


@asynccontextmanager
async def journalling(service: Service, kind: JournalKind) -> AsyncIterator[DigestJournal]:
    """Open the journal of a service, which holds the lock of its kind.

    What killed processes journalled is recorded first. While the record cannot be written that is tried again and
    again, and nothing is signed (CPS 4.5.6). Where the end cannot be recorded that is told in the log, and the next
    process records it: the error that ended this one is not hidden by it, for after a wrong PIN nothing may be tried
    again.

    Args:
        service: the process.
        kind: what it signs.

    Raises:
        StoreError: it was told to stop before what was left could be recorded.
    """
    context = service.context
    journal = DigestJournal(kind, context.home.checkpoints, context.store, context.clock, context.actor)
    await _record_left_over(service, journal)
    try:
        yield journal
    finally:
        with trio.CancelScope(shield=True):
            try:
                await journal.close()
            except SealmintError as error:
                service.log.error("journal-left", error=type(error).__name__, message=str(error))


async def _record_left_over(service: Service, journal: DigestJournal) -> None:
    told = False
    while True:
        try:
            names = await trio.to_thread.run_sync(journal.record_left_over)
        except StoreError as error:
            if service.stop.is_set():
                raise
            if not told:
                service.log.error("waiting-for-audit", error=type(error).__name__, message=str(error))
                told = True
            await service.pause(RETRY_SECONDS)
        else:
            for name in names:
                service.log.info("journal-recorded", file=name)
            return
