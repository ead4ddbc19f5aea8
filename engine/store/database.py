"""Opening the database, and the kinds of transaction.

SQLite is the embedded default; the same schema and the same statements run on PostgreSQL. What differs stands in
`sqlite.py` and `postgresql.py`, but for two dialect points: leasing (`BEGIN IMMEDIATE` on SQLite, row locks on
PostgreSQL) and bulk append (`bulk_append.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from engine.errors import ConfigurationInvalid, StoreError, StoreUnavailable
from engine.store import postgresql, sqlite
from engine.store.transactions import Writing


class Store:
    """An open database.

    Args:
        engine: the SQLAlchemy engine, configured by :func:`open_store`.

    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes, alone: no other one writes from its start to its end; durable when it ends.

        Raises:
            StoreUnavailable: the database is away, or its disk is full; whether a transaction whose commit had been
                asked for is kept is not known.
            StoreError: the database refused; everything in the block was rolled back.

        """
        with self._transaction(Writing.ALONE) as connection:
            yield connection

    @contextmanager
    def write_beside(self) -> Iterator[Connection]:
        """A transaction that writes beside others of this kind; on SQLite the same as `write`.

        For what many workers do at once and what locks the rows it changes: it must neither count rows to find a free
        number nor look before it appends. Those of `write` wait until it ends.

        Raises:
            StoreUnavailable: as for `write`.
            StoreError: as for `write`.

        """
        with self._transaction(Writing.BESIDE) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A short consistent snapshot. Keep it short: an open one keeps what it sees from being cleared away."""
        with self._transaction(Writing.NOT) as connection:
            yield connection

    @contextmanager
    def _transaction(self, writing: Writing) -> Iterator[Connection]:
        try:
            with self.engine.connect() as plain:
                connection = plain.execution_options(**self._begin_options(writing))
                with connection.begin():
                    yield connection
        except IntegrityError as error:
            raise StoreError("a row that must be unique is there already", value=str(error.orig)) from error
        except DBAPIError as error:
            away = self._is_away(error)
            kind = StoreUnavailable if away else StoreError
            raise kind(
                "the database is away, or cannot write; try again later"
                if away
                else "the database did not do what was asked; nothing of this step was kept",
                place=str(self.engine.url.database),
                value=str(error.orig),
            ) from error

    @property
    def is_sqlite(self) -> bool:
        """Whether the record is a file of this host."""
        return self.engine.url.get_backend_name() == "sqlite"

    def _begin_options(self, writing: Writing) -> dict[str, object]:
        return sqlite.begin_options(writing) if self.is_sqlite else postgresql.begin_options(writing)

    def _is_away(self, error: DBAPIError) -> bool:
        return sqlite.is_away(error) if self.is_sqlite else postgresql.is_away(error)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_store(url: str, *, must_exist: bool = False, read_only: bool = False) -> Store:
    """Open the database at a URL whose schema is already at the newest revision.

    Args:
        url: an SQLAlchemy URL: `sqlite:////path/store.sqlite` or `postgresql+psycopg://role@host/database`.
        must_exist: refuse an SQLite file that is not there, where a new one would be a record without its past.
        read_only: have the database refuse every write.

    Raises:
        ConfigurationInvalid: the URL is none, or its driver is not installed.
        HomeUnusable: an SQLite file whose directory is missing or not writable, or that is missing itself.

    """
    try:
        if url.startswith("sqlite"):
            engine = create_engine(url)
            sqlite.configure(engine, must_exist=must_exist, read_only=read_only)
        else:
            engine = create_engine(url, **postgresql.engine_options(read_only=read_only))
            postgresql.configure(engine)
    except (ArgumentError, ImportError) as error:
        raise ConfigurationInvalid(
            "the URL of the store cannot be used", place="store.url", rule=str(error)
        ) from error
    return Store(engine)
