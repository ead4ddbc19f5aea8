"""Bringing a store to the newest revision, with its audit record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.config import StoreSection
from engine.errors import HomeUnusable
from engine.store.database import Store, open_store
from engine.store.migration import current_revision, migrate, newest_revision


def open_record(
    places: StoreSection, clock: Clock, actor: str, alone: Callable[[], AbstractContextManager[object]]
) -> Store:
    """Open the record that a home has; an older one is brought to the newest revision first.

    Args:
        places: where the record is; the role that owns the tables migrates them.
        clock: tells the time of the audit record.
        actor: who asked for what made it necessary.
        alone: keeps the home's other processes away while the record is migrated.

    Raises:
        HomeUnusable: there is no record, or it was made by a newer program.
        StoreUnavailable: the database is away.
        StoreError: it refused.
    """
    store = open_store(places.url, must_exist=True)
    try:
        with store.read() as connection:
            revision = current_revision(connection)
        if revision is None:
            raise HomeUnusable(
                "the database has no record, and a new one would be without its past",
                place=str(store.engine.url.database),
                rule="restore the record, or have store.url name the database that it is in",
            )
        if revision != newest_revision():
            with alone():
                migrate_as_owner(places, clock, actor)
    except BaseException:
        store.close()
        raise
    return store


def migrate_as_owner(places: StoreSection, clock: Clock, actor: str) -> tuple[str | None, str]:
    """Bring the record of a configuration to the newest revision, as the role that owns its tables.

    Returns:
        As `migrate_and_record`.

    Raises:
        HomeUnusable: as there.
        StoreError: as there.
    """
    owned = open_store(places.owner_url or places.url)
    try:
        return migrate_and_record(owned, clock, actor)
    finally:
        owned.close()


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
