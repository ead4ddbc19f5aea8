"""A home is judged while it works: a run is in flight, and everything is served."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from engine.checker.check import Asked, Report, check_home
from engine.checker.served import Host
from tests.checker.damage import judged
from tests.cli.prepared_home import CERTIFICATES, SAFETY_NET, PreparedHome, copy_of
from tests.judges.served_home import Running, ServedHome, responders


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what agrees in the end agrees."""
    monkeypatch.setattr("engine.checker.served.AGREE_SECONDS", SAFETY_NET)


@contextmanager
def _running(home: PreparedHome) -> Iterator[Running]:
    home.configure("[token]\n", "[ocsp]\nsigners = 1\n\n[token]\n")
    with responders(ServedHome(home.path, "", "")) as running:
        yield running


def _asked(home: PreparedHome, running: Running) -> Report:
    asked = Asked(ocsp=running.ocsp, http=running.http)
    return check_home(home.path, signature_log=home.path / "hsm" / "log", asked=asked)


def test_no_false_alarm_while_a_run_is_in_flight(home: PreparedHome) -> None:
    process = home.start("run", "start", "1")
    looks = 0
    try:
        while process.poll() is None:
            assert judged(home).findings == []
            looks += 1
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait(SAFETY_NET)
    assert looks
    assert judged(home).counted["signature"] == CERTIFICATES
    assert judged(home).findings == []


def test_what_is_served_agrees_with_the_record(worked: PreparedHome, tmp_path: Path) -> None:
    home = copy_of(worked, tmp_path / "copy")
    cards = [card for (card,) in home.query("SELECT number FROM card ORDER BY id LIMIT 4 OFFSET 10")]
    with _running(home) as running:
        assert _asked(home, running).findings == []
        for card in cards:  # the answers follow, and are waited for
            home.look("cert", "revoke", "--card", card, "--ground", "key-compromise")
        assert _asked(home, running).findings == []
        _ask_with_a_nonce(home, running)
        assert judged(home).findings == []
        document = home.look("check", "--ocsp", running.ocsp, "--http", running.http, "--sample", 5).json
        assert document["ok"]
    assert judged(home).findings == []
    (journal,) = (home.path / "audit" / "live-ocsp").glob("*.digests")
    octets = journal.read_bytes()
    journal.chmod(0o600)
    journal.write_bytes(octets.replace(octets[:64], b"0" * 64))
    assert {found.rule for found in judged(home).findings} == {"journal", "signature-unaccounted"}
    journal.unlink()
    assert {found.rule for found in judged(home).findings} == {"journal", "signature-unaccounted"}


def test_a_responder_that_stays_behind_is_found(
    worked: PreparedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of a host that nobody brings up to date: what is served is another one's."""
    served, home = (copy_of(worked, tmp_path / name) for name in ("served", "home"))
    ((card, serial),) = home.query(
        "SELECT card.number, reservation.serial FROM card JOIN item ON item.card_id = card.id"
        " JOIN reservation ON reservation.item_id = item.id ORDER BY item.id LIMIT 1 OFFSET 20"
    )
    home.look("cert", "revoke", "--card", card, "--ground", "key-compromise")
    home.change("UPDATE crl_issue SET file_sha256 = zeroblob(32)")
    with _running(served) as running:
        assert _asked(served, running).findings == []
        monkeypatch.setattr("engine.checker.served.AGREE_SECONDS", 0.0)
        found = _asked(home, running).findings
    assert {one.rule for one in found} == {"crl-file", "crl-served", "ocsp-served"}
    wrong = [one for one in found if one.rule == "ocsp-served"]
    assert len(wrong) == 2
    assert serial.hex().upper() in {one.place.removeprefix("serial ") for one in wrong}


def _ask_with_a_nonce(home: PreparedHome, running: Running) -> None:
    """Have something signed on demand, which is journalled."""
    ca = x509.load_der_x509_certificate((home.path / "certificates" / "ca.der").read_bytes())
    ((serial,),) = home.query("SELECT serial FROM reservation ORDER BY item_id LIMIT 1")
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        hashlib.sha1(ca.subject.public_bytes()).digest(),
        x509.SubjectKeyIdentifier.from_public_key(ca.public_key()).digest,
        int.from_bytes(serial),
        SHA1(),
    )
    request = builder.add_extension(x509.OCSPNonce(bytes(16)), critical=False).build()
    with Host(running.ocsp) as host:
        answer = ocsp.load_der_ocsp_response(host.ask(request.public_bytes(Encoding.DER)))
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == bytes(16)
