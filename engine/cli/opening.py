"""Opening a home for a command."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.audit.log import check_clock
from engine.audit.store_migration import open_record
from engine.authority.role_certificates import load_authority
from engine.clock import SystemClock
from engine.config import Configuration, load_configuration
from engine.fault_points import arm
from engine.home import Home
from engine.issuance.run_context import RunContext
from engine.store.database import Store, open_store


@contextmanager
def open_context(path: Path, *, only_reading: bool = False) -> Iterator[RunContext]:
    """Open a home: its configuration, its store (migrated if it is older), its certificates.

    Args:
        path: the home.
        only_reading: nothing is written: `store.read_url` is good enough, where there is one.

    Raises:
        HomeUnusable: the directory is no home, is not finished, or was made by a newer program.
        ConfigurationInvalid: its configuration is wrong.
        ClockWrong: the clock stands before the newest record.
    """
    home = Home(path)
    configuration = load_configuration(home.path)
    arm(configuration.fault_points.kill, Path(configuration.fault_points.marks))
    authority = load_authority(home, configuration)
    store = _open_reading(configuration) if only_reading else None
    store = store or open_migrated(home, configuration)
    try:
        clock = SystemClock()
        with store.read() as connection:
            check_clock(connection, clock)
        yield RunContext(home, configuration, store, clock, authority, actor())
    finally:
        store.close()


def open_migrated(home: Home, configuration: Configuration) -> Store:
    """Open the store of a home; an older one is brought to the newest revision first."""
    return open_record(
        configuration.store, SystemClock(), actor(), lambda: home.lock("home", "migrating the store")
    )


def _open_reading(configuration: Configuration) -> Store | None:
    url = configuration.store.read_url
    return open_store(url, must_exist=True, read_only=True) if url else None


def actor() -> str:
    """Who is at the command line, for the audit log. Accounts and roles come with the trust services."""
    return f"account {getpass.getuser()}"
