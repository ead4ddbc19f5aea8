"""Bringing a database to the newest revision (Alembic)."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from engine.errors import HomeUnusable
from engine.store.database import Store

MIGRATIONS = Path(__file__).parent / "migrations"

NEWEST = "0005"
"""The newest revision there is. Every command asks for it, and Alembic, which could tell, takes 0.1 s to import."""


def newest_revision() -> str:
    """Return the name of the newest revision that this program knows."""
    return NEWEST


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None where there are no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


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
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

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
