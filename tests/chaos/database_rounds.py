"""Rounds on a record in PostgreSQL: amid a run the server is killed or stopped, or every connection is cut."""

from __future__ import annotations

import random
import signal
from contextlib import closing
from functools import partial

from engine.backup.store_copy import copy_store
from engine.store.database import open_store
from tests.chaos.judgement import settle
from tests.chaos.rounds import Round
from tests.cli.prepared_home import CERTIFICATES, SAFETY_NET, PreparedHome, wait_until
from tests.postgresql_server import OWNER, WRITER, PostgresqlServer

_LATENCY_MICROSECONDS = 10_000
"""Of a signature: long enough that what is done meets a run at work."""

_STOPS = {"killed": signal.SIGKILL, "stopped at once": signal.SIGQUIT, "stopped": signal.SIGINT}
CUT = "connections cut"


def database_round(server: PostgresqlServer, chance: random.Random) -> Round:
    """A round with something that is drawn."""
    how = chance.choice([*_STOPS, CUT])
    return Round("database", how, False, partial(_disturb, server, how), partial(settle, run=1))


def _disturb(server: PostgresqlServer, how: str, home: PreparedHome, chance: random.Random) -> str:
    """The run goes on by itself when the record is back: nobody starts it again."""
    database = server.new_database()
    file, owned = f"sqlite:///{home.path}/store.sqlite", server.url(database, OWNER)
    _copy(file, owned)
    (home.path / "store.sqlite").unlink()
    section = f'[store]\nurl = "{server.url(database, WRITER)}"\n\n'
    home.configure("[token]\n", f"{section}[token]\n")
    home.hsm.latency("C_Sign", _LATENCY_MICROSECONDS)
    after = chance.randrange(1, CERTIFICATES - 20)
    before = home.log_lines
    with home.start("run", "start", 1, "--workers", 2) as process:
        assert wait_until(lambda: home.log_lines - before >= after, process)
        if how == CUT:
            server.administer(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
            )
        else:
            server.stop(_STOPS[how])
            server.start()
        assert process.wait(SAFETY_NET) == 0
    _copy(owned, file)
    home.configure(section, "")
    return f"{how} after signature {after}"


def _copy(source: str, target: str) -> None:
    with closing(open_store(source, must_exist=True)) as old, closing(open_store(target)) as new:
        copy_store(old, new)
