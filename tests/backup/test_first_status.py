"""The repository and OCSP come back before the rest of the record; and a record comes back into a server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp

from engine.backup.chunk_store import ChunkStore
from engine.cli.putting_back import First, put_back
from engine.config import PublicConfiguration, load_configuration, load_host_configuration
from engine.home import Home
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import IssuerNames
from tests.cli.prepared_home import COMPANIES, PreparedHome, copy_of, run_here
from tests.postgresql_server import PostgresqlServer
from tests.responders.ocsp_requests import certificate_id, request, single
from tests.responders.test_serve_command import ask, serving
from tests.status.ocsp_home import OcspHome, issue

REVOKED, GOOD = 3, 5
"""Cards; the first certificate of one is revoked."""


class BackedUp(NamedTuple):
    """A home with answers signed ahead, and its backups."""

    home: OcspHome
    out: Path

    def path_of_question(self, card: int) -> str:
        """The path of a GET that asks for a card's first certificate (RFC 6960 appendix A.1)."""
        issuer = IssuerNames.from_certificate((self.home.path / "certificates" / "ca.der").read_bytes())
        asked = request(single(certificate_id(issuer, self.home.serials(card)[0], "sha1")))
        return "/" + quote(base64.b64encode(asked), safe="")


@pytest.fixture(scope="module")
def backed_up(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    home = OcspHome(copy_of(prepared, tmp_path_factory.mktemp("status") / "copy"))
    issue(home.home)
    home.act(REVOKED, 0, CertificateState.REVOKED)
    assert home.pre_sign() == 0
    home.home.sealmint("crl", "publish")
    out = home.home.directory / "backups"
    home.home.look("backup", "--out", out)
    return BackedUp(home, out)


def status_in(response: bytes, serial: bytes) -> set[str]:
    """What a response says of a certificate, under either hash."""
    found = ocsp.load_der_ocsp_response(response).responses
    return {one.certificate_status.name for one in found if one.serial_number == int.from_bytes(serial)}


@pytest.mark.cps("4.8.1")
def test_answers_are_given_before_the_record_is_back(backed_up: BackedUp, tmp_path: Path) -> None:
    back = PreparedHome(tmp_path)
    back.path = tmp_path / "back"
    lists = sorted((backed_up.home.path / "crl").rglob("*.crl"))
    assert lists
    told: list[set[str]] = []

    def answer() -> None:
        assert isinstance(load_host_configuration(back.path), PublicConfiguration)
        assert not (back.path / "store.sqlite").exists()
        with serving(back, "--processes", "1") as (_, said):
            for card in (REVOKED, GOOD):
                status, body = ask(said["ocsp"], backed_up.path_of_question(card))
                assert status == 200
                told.append(status_in(body, backed_up.home.serials(card)[0]))
            for path in lists:
                name = path.relative_to(backed_up.home.path / "crl")
                assert ask(said["http"], f"/{name}") == (200, path.read_bytes())

    put_back(backed_up.out, None, Home(back.path), None, first=First.STATUS, on_answering=answer)
    assert told == [{"REVOKED"}, {"GOOD"}]
    assert load_configuration(back.path).role == "authority"
    rows = "SELECT * FROM signature"
    assert back.query(rows) == backed_up.home.home.query(rows)
    assert not list(back.path.glob(".status-*"))


def test_a_record_comes_back_into_a_server_and_from_there_into_another(
    backed_up: BackedUp, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    sources = [backed_up.out]
    for number in range(2):
        home, out = tmp_path / f"home-{number}", tmp_path / f"backups-{number}"
        url = postgresql.url(postgresql.new_database())
        told = ("--store-url", url, "--first", "status", "--home", home, "--json")
        done = run_here("restore", "--from", sources[-1], *told)
        assert done.code == 0, done.err
        assert done.json["cards_with_status"] == COMPANIES
        assert not list(home.glob("store.sqlite*"))
        made = run_here("backup", "--home", home, "--out", out, "--json")
        assert made.code == 0, made.err
        sources.append(out)
    first, second, third = (ChunkStore(source).manifest()["tables"] for source in sources)
    assert first["signature"]["rows"] == 2 * COMPANIES
    assert first == second == third
