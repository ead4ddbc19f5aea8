"""The whole way of a register extract on a record in PostgreSQL, worked as the role that owns nothing; and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import Connection, text

from engine.store.database import open_store
from tests.cli.prepared_home import PreparedHome, run_command
from tests.postgresql_server import OWNER, READER, WRITER, PostgresqlServer
from tests.responders.test_serve_command import ask, serving

COMPANIES = 6
CERTIFICATES = 2 * COMPANIES
SHIPPED_POLICY = "engine/issuance/policies/all-companies.toml"


@dataclass(frozen=True)
class Shared:
    """A home whose record is in a database."""

    home: PreparedHome
    server: PostgresqlServer
    database: str

    def sealmint(self, *arguments: object) -> Any:
        return self.home.sealmint(*arguments).json

    def numbers(self) -> dict[str, int]:
        """How many rows what matters has."""
        opened = open_store(self.server.url(self.database, READER), read_only=True)
        try:
            with opened.read() as connection:
                return {
                    name: _count(connection, name) for name in ("signature", "serial_claim", "revocation")
                }
        finally:
            opened.close()


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.fixture(scope="module")
def shared(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory
) -> Shared:
    """A home made on an empty database, with its run planned and issued."""
    home = PreparedHome(tmp_path_factory.mktemp("shared"))
    database = postgresql.new_database()
    roles = {"--store-url": WRITER, "--store-owner-url": OWNER, "--store-read-url": READER}
    told = [part for name, role in roles.items() for part in (name, postgresql.url(database, role))]
    made = run_command("init", "--home", home.path, *told, "--json")
    assert made.code == 0, made.err
    rows = prepared.extract.read_text().splitlines(keepends=True)[:COMPANIES]
    home.extract.write_text("".join(rows))
    sealed = Shared(home, postgresql, database)
    sealed.sealmint("card-centre", "simulate", "--register", home.extract, "--out", home.cards, "--synthetic")
    planning = ("--register", home.extract, "--card-keys", home.cards, "--policy", SHIPPED_POLICY)
    assert sealed.sealmint("run", "plan", *planning)["items"] == CERTIFICATES
    started = sealed.sealmint("run", "start", 1, "--workers", 2, "--sessions", 1)
    assert (started["state"], started["issued"], started["failed"]) == ("completed", CERTIFICATES, 0)
    return sealed


def serials(shared: Shared) -> list[str]:
    """Every certificate's serial: of the whole run, and asked for by one company's name, as the reader."""
    out = shared.home.directory / "out"
    shared.sealmint("cert", "export", "--run", 1, "--out", out)
    name = json.loads(shared.home.extract.read_text().splitlines()[0])["Company_Name"]
    exported = sorted(path.stem for path in out.glob("*.der"))
    assert {one["serial"] for one in shared.sealmint("cert", "show", name)["certificates"]} <= set(exported)
    return exported


def test_nothing_of_the_record_is_in_the_home(shared: Shared) -> None:
    assert not list(shared.home.path.rglob("store.sqlite*"))
    assert shared.numbers() == {"signature": CERTIFICATES, "serial_claim": CERTIFICATES, "revocation": 0}


def test_status_crl_and_answers(shared: Shared) -> None:
    named = serials(shared)
    assert len(set(named)) == CERTIFICATES
    shared.sealmint("cert", "revoke", named[0], "--ground", "key-compromise")
    shared.sealmint("cert", "suspend", named[2], "--ground", "token-lost")
    assert shared.sealmint("ocsp", "presign")["owed"] == 0
    shared.sealmint("crl", "publish")
    listed: set[int] = set()
    for path in (shared.home.path / "crl").rglob("*.crl"):
        listed |= {entry.serial_number for entry in x509.load_der_x509_crl(path.read_bytes())}
    assert listed >= {int(named[0], 16), int(named[2], 16)}
    assert len(listed) <= 4  # a card's two certificates go together, or one by itself
    with serving(shared.home, "--processes", "1") as (process, said):
        assert process.poll() is None
        assert ask(said["http"], "/healthz")[0] == 200


def test_audit_chain_and_report(shared: Shared) -> None:
    shared.sealmint("audit", "checkpoint")
    shared.sealmint("audit", "verify")
    assert shared.sealmint("run", "report", 1)["issued"] == CERTIFICATES


def test_the_record_comes_back_into_a_file(shared: Shared, tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    copied = run_command(
        "store",
        "copy",
        "--from",
        shared.server.url(shared.database, WRITER),
        "--to",
        f"sqlite:///{file}",
        "--json",
    )
    assert copied.code == 0, copied.err
    assert copied.json["verified"]
    assert copied.json["tables"]["signature"]["rows"] == CERTIFICATES
