"""Bringing a store to the newest revision, with its audit record."""

from __future__ import annotations

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.store.database import Store
from engine.store.migration import migrate


def migrate_and_record(store: Store, clock: Clock, actor: str) -> tuple[str | None, str]:
    """Bring a store to the newest revision, and record it; nothing is done where it is there already.

    Args:
        store: an open store, empty or older.
        clock: tells the time of the record.
        actor: who asked for what made it necessary.

    Returns:
        The revision before, None for an empty store, and the revision after.

    Raises:
        HomeUnusable: the store was made by a newer program.
        StoreError: the database refused; it is as it was.
    """
    before, after = migrate(store)
    if before != after:
        with store.write() as connection:
            append_record(
                connection, clock, Event.STORE_MIGRATED, actor=actor, body={"from": before, "to": after}
            )
    return before, after
