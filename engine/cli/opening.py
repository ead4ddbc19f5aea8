"""Opening a home for a command."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.audit.log import check_clock
from engine.audit.store_migration import migrate_and_record
from engine.authority.role_certificates import load_authority
from engine.clock import SystemClock
from engine.config import Configuration, load_configuration
from engine.home import Home
from engine.issuance.run_context import RunContext
from engine.store.database import Store, open_store
from engine.store.migration import current_revision, newest_revision


@contextmanager
def open_context(path: Path) -> Iterator[RunContext]:
    """Open a home: its configuration, its store (migrated if it is older), its certificates.

    Raises:
        HomeUnusable: the directory is no home, is not finished, or was made by a newer program.
        ConfigurationInvalid: its configuration is wrong.
        ClockWrong: the clock stands before the newest record.
    """
    home = Home(path)
    configuration = load_configuration(home.path)
    authority = load_authority(home, configuration)
    store = open_migrated(home, configuration)
    try:
        clock = SystemClock()
        with store.read() as connection:
            check_clock(connection, clock)
        yield RunContext(home, configuration, store, clock, authority, actor())
    finally:
        store.close()


def open_migrated(home: Home, configuration: Configuration) -> Store:
    """Open the store of a home; an older one is brought to the newest revision first."""
    store = open_store(configuration.store.url, must_exist=True)
    with store.read() as connection:
        revision = current_revision(connection)
    if revision != newest_revision():
        with home.lock("home", "migrating the store"):
            migrate_and_record(store, SystemClock(), actor())
    return store


def actor() -> str:
    """Who is at the command line, for the audit log. Accounts and roles come with the trust services."""
    return f"account {getpass.getuser()}"
