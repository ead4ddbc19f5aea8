"""A PostgreSQL server of the tests' own: made and started under an account without privileges, gone afterwards.

It listens on a socket in its directory and, for what crosses a network, on a free port of an address that is asked for;
nothing of it is kept, so what it says about durability is about processes that die, not about power.
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

ACCOUNT = "postgres"
"""Debian's account for the server, where these tests run as root: the server itself refuses to."""

SAFETY_NET = 120
"""Seconds until a server that does not come up is given up. Decides nothing but that."""

PAGE = Path(__file__).parent.parent / "docs" / "postgresql.md"

OWNER, WRITER, READER = "sealmint_owner", "sealmint", "sealmint_reader"
"""Who owns the tables and migrates them, who works, who only reads. None is a superuser."""


def programs() -> Path:
    """The directory of the newest server that is installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert versions, "the tests need Debian's postgresql (make setup)"
    return versions[-1]


class PostgresqlServer:
    """A server in a directory of its own.

    Args:
        address: where it listens beside its socket; loopback, or an address of the tests' own networks.
        durable: whether a commit reaches the disk, for what is measured; tests only end processes, never the power.

    Attributes:
        port: on every address, and of the socket's name.
        socket_directory: where the socket is.
    """

    def __init__(self, address: str = "127.0.0.1", *, durable: bool = False) -> None:
        self.address = address
        self.durable = durable
        # Its own place, not the tests': the account must be able to get there, and a socket's path is short.
        self.directory = Path(tempfile.mkdtemp(prefix="sealmint-postgresql-"))
        self.socket_directory = self.directory
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = itertools.count(1)
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        self.directory.chmod(0o755)
        data = self.directory / "data"
        self._run(
            [
                programs() / "initdb",
                "-D",
                data,
                "-A",
                "trust",
                "-U",
                "administrator",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ]
        )
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")

    def _account(self) -> str | None:
        return ACCOUNT if os.geteuid() == 0 else None

    def _run(self, command: Sequence[object]) -> None:
        subprocess.run(
            [str(part) for part in command],
            user=self._account(),
            cwd=self.directory,
            check=True,
            capture_output=True,
            env={"PATH": os.environ["PATH"]},
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's first process."""
        assert self._process is not None, "the server does not run"
        return self._process

    def start(self) -> None:
        """Start it, after a crash too, and wait until it takes connections."""
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)
        settings = {
            "listen_addresses": self.address,
            "port": self.port,
            "unix_socket_directories": self.socket_directory,
            "max_connections": 100,
            "shared_buffers": "256MB" if self.durable else "64MB",
            "fsync": "on" if self.durable else "off",
            "max_prepared_transactions": 0,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self.directory / "data", *options],
                user=self._account(),
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"]},
            )
        give_up = time.monotonic() + SAFETY_NET
        while True:
            try:
                self.administer("SELECT 1")
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < give_up, "the server did not come up"
                time.sleep(0.02)
            else:
                return

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts every connection and writes what is in memory, SIGQUIT and SIGKILL are crashes."""
        if self._process is None:
            return
        if number is signal.SIGKILL:  # its children too, which would go on for a moment
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.send_signal(number)
        self._process.wait()
        self._process = None

    def administer(
        self, statement: str, database: str = "postgres", role: str = "administrator"
    ) -> list[tuple[object, ...]]:
        """Run a statement, as the administrator, whom only the tests have, or as another role."""
        where = f"host={self.socket_directory} port={self.port} user={role} dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """Make an empty database and its three roles, in the words of docs/postgresql.md; return its name."""
        name = f"record_{next(self._databases)}"
        for statement in _page_statements():
            made = re.match(r"CREATE ROLE (\w+)", statement)
            if made and self.administer(f"SELECT 1 FROM pg_roles WHERE rolname = '{made[1]}'"):
                continue
            if statement.startswith("CREATE"):
                self.administer(re.sub(r"DATABASE record\b", f"DATABASE {name}", statement))
            else:
                self.administer(statement, name, OWNER)
        return name

    def copy_database(self, template: str) -> str:
        """Make a database like another one, to which nobody may be connected; return its name."""
        name = f"record_{next(self._databases)}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
        return name

    def url(self, database: str, role: str = OWNER) -> str:
        """The URL of a database over the server's socket."""
        return f"postgresql+psycopg://{role}@/{database}?host={self.socket_directory}&port={self.port}"

    def network_url(self, database: str, role: str = OWNER) -> str:
        """The URL of a database over TCP."""
        return f"postgresql+psycopg://{role}@{self.address}:{self.port}/{database}"

    def remove(self) -> None:
        """End it and remove all of it."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory)


def _page_statements() -> list[str]:
    """What docs/postgresql.md tells the administrator, and then the owner, to run."""
    statements = re.findall(r"^    ((?:CREATE|ALTER) .*);$", PAGE.read_text(), re.MULTILINE)
    assert len(statements) >= 7, "the page has lost its statements"
    return statements


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(address: str = "127.0.0.1", *, durable: bool = False) -> Iterator[PostgresqlServer]:
    """A server while the block runs."""
    server = PostgresqlServer(address, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.remove()
