"""What the record says: runs, the audit chain, the end of the change feed. Nothing is written."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from engine.audit.condition import ChainCondition, chain_condition
from engine.clock import Clock
from engine.errors import SealmintError
from engine.store.database import Store
from engine.store.status_changes import last_change
from responders.operator.run_look import RunLook
from responders.operator.views import AuditView, RunView, WritingView


@dataclass(frozen=True, slots=True)
class RecordSeen:
    """The record at one moment."""

    runs: list[RunView]
    audit: AuditView | None
    last_change: int


class RecordLook:
    """Looks at the record again and again. Every method blocks.

    Args:
        store: the record, which refuses writes.
        runs: remembers how far runs were.
    """

    def __init__(self, store: Store, runs: RunLook) -> None:
        self._store = store
        self._runs = runs

    def look(self, notices: dict[int, str]) -> RecordSeen:
        """Return what there is to see.

        Args:
            notices: what is to be said of runs.

        Raises:
            StoreError: the record cannot be read.
        """
        with self._store.read() as connection:
            chain = chain_condition(connection)
            return RecordSeen(
                self._runs.runs(connection, time.monotonic(), notices),
                None if chain is None else _audit(chain),
                last_change(connection),
            )


def _audit(chain: ChainCondition) -> AuditView:
    return AuditView(
        sequence=chain.sequence,
        recorded_at=chain.recorded_at.timestamp(),
        event=chain.event,
        actor=chain.actor,
        hash=chain.hash.hex(),
        checkpoint=chain.checkpoint,
        checkpoint_at=None if chain.checkpoint_at is None else chain.checkpoint_at.timestamp(),
        uncovered=chain.uncovered,
    )


def try_writing(store: Store, clock: Clock) -> WritingView:
    """Take the record's write lock and let it go; blocks for as long as a writer is waited for, and writes nothing.

    Args:
        store: the record, open for writing.
        clock: tells the time.
    """
    fault, began = None, time.monotonic()
    try:
        with store.write():
            pass
    except SealmintError as error:
        fault = str(error)
    waited = (time.monotonic() - began) * 1_000
    return WritingView(clock.now().timestamp(), round(waited, 3), _free_octets(store), fault)


def _free_octets(store: Store) -> int | None:
    url = store.engine.url
    if url.get_backend_name() != "sqlite" or url.database is None:
        return None
    try:
        return shutil.disk_usage(Path(url.database).parent).free
    except OSError:
        return None
