"""Bringing a database to the newest revision (Alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from engine.errors import HomeUnusable
from engine.store.database import Store

MIGRATIONS = Path(__file__).parent / "migrations"


def newest_revision() -> str:
    """Return the name of the newest revision that this program knows."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise HomeUnusable("the program was installed without its database revisions", place=str(MIGRATIONS))
    return head


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None where there are no tables yet."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(store: Store, revision: str = "head") -> tuple[str | None, str]:
    """Bring the database up to a revision, in one transaction; nothing is done where it is there already.

    Args:
        store: an open store, empty or of an older revision.
        revision: the revision to stop at; tests stop at older ones.

    Returns:
        The revision before and the revision after.

    Raises:
        HomeUnusable: the database is of a revision that this program does not know: it is too new.
        StoreError: the database refused; it is as it was.

    """
    scripts = ScriptDirectory(str(MIGRATIONS))
    with store.write() as connection:
        before = current_revision(connection)
        if before is not None and before not in {script.revision for script in scripts.walk_revisions()}:
            raise HomeUnusable(
                "the store was made by a newer program than this one",
                place=str(store.engine.url.database),
                value=before,
                rule=f"newest revision known here: {newest_revision()}",
            )
        configuration = Config()
        configuration.set_main_option("script_location", str(MIGRATIONS))
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)
        return before, current_revision(connection) or newest_revision()
