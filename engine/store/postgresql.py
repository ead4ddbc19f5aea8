"""The record in PostgreSQL, shared by several hosts.

All that writes was written for a database with one writer at a time. Here a lock of the whole record keeps that true: a
transaction of `Store.write` holds it alone, those of `Store.write_beside` hold it together and lock the rows that they
change, as leasing, reserving and completing work units do. It is an advisory lock that falls with the transaction, so a
host that dies leaves nothing behind.
"""

from __future__ import annotations

from typing import Any

from psycopg import OperationalError
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from engine.store.transactions import Writing

RECORD_LOCK = 0x5EA1_0001
"""The number of the advisory lock. A guess that no other program in the same database uses."""

SETTINGS = {
    "synchronous_commit": "on",  # a commit that returned survives a power cut of the server
    # A worker that was stopped, or whose host was cut off, in the middle of a transaction holds its locks no longer.
    # A guess: a hundred times what a unit's transaction takes, and longer than any pause of planning.
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    # A host that is cut off in the middle of a COPY, with an answer of the server's on the way to it: neither the limit
    # above nor keepalives end that (tcp(7)). Without this its locks stood as long as TCP tries: a quarter of an hour.
    "tcp_user_timeout": "15s",
    "lock_timeout": "60s",  # as SQLite's busy timeout: only a hung process is ever reported
    # A plan made once while a table was empty reads all of it for ever after: reading a unit of 256 took 25 ms at
    # 60,000 certificates instead of 2.5 (bench.store_size). Planning each time costs 0.2 ms.
    "plan_cache_mode": "force_custom_plan",
    "timezone": "UTC",
}

_CONNECT = {
    "connect_timeout": 5,
    # Seconds until a server that no longer answers is given up, where TCP by itself takes a quarter of an hour.
    # Guesses: far above a slow commit's, well below a person's patience.
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "application_name": "sealmint",
}

_AWAY_STATES = ("08", "53", "57P", "58", "25P03", "55P03", "40001", "40P01")
"""SQLSTATE classes and codes that may be gone when the same is asked again (PostgreSQL, appendix A): connection lost,
disk or memory full, server going down or starting, input and output errors, idle too long, lock not had, conflict."""


def engine_options(*, read_only: bool) -> dict[str, Any]:
    """Return what the engine is made with."""
    settings = SETTINGS | ({"default_transaction_read_only": "on"} if read_only else {})
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {"pool_pre_ping": True, "connect_args": _CONNECT | {"options": options}}


def configure(engine: Engine) -> None:
    """Have each transaction that writes take the lock of the record first."""
    event.listen(engine, "begin", _lock_record)


def begin_options(writing: Writing) -> dict[str, object]:
    """Return the execution options under which a transaction begins."""
    if writing is Writing.NOT:
        return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {"sealmint_writing": writing}


def is_away(error: DBAPIError) -> bool:
    """Whether the same call may succeed later."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or isinstance(error.orig, OperationalError)
    return str(state).startswith(_AWAY_STATES)


def _lock_record(connection: Connection) -> None:
    writing = connection.get_execution_options().get("sealmint_writing")
    if writing is not None:
        function = "pg_advisory_xact_lock" if writing is Writing.ALONE else "pg_advisory_xact_lock_shared"
        connection.execute(text(f"SELECT {function}(:number)"), {"number": RECORD_LOCK})
