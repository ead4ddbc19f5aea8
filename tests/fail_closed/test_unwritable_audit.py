"""While the audit record cannot be written nothing is issued and no status changes; then everything goes on by itself.

What was signed ahead is served meanwhile: the listeners never open the record.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from engine.status.status_store import StatusReader
from responders.live_signing.client import TRY_LATER
from tests.cli.prepared_home import PreparedHome, copy_of
from tests.fail_closed.live_signer import SETTINGS, live_signer
from tests.fail_closed.unwritable_audit import AUDIT_FAILED, allow_audit, content, refuse_audit
from tests.responders.listener_process import ListenerProcess, listener_process
from tests.responders.test_live_signer import ask, nonce_in, settings_of
from tests.responders.test_live_signer import question as live_question
from tests.status.ocsp_home import OcspHome, issue

pytestmark = pytest.mark.cps("4.5.6")

SCOPES = "SELECT count(*) FROM crl_scope"
PUBLISHED = "SELECT count(*) FROM crl_issue WHERE published_at IS NOT NULL"


@pytest.fixture(scope="module")
def issued_home(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> OcspHome:
    home = copy_of(prepared, tmp_path_factory.mktemp("issued") / "copy")
    issue(home)
    return OcspHome(home)


@pytest.fixture
def ocsp_home(issued_home: OcspHome, tmp_path: Path) -> OcspHome:
    return OcspHome(copy_of(issued_home.home, tmp_path / "issued"))


def question(home: OcspHome, serial: bytes) -> bytes:
    issuer = home.certificate("ca")
    name, key = (hashlib.sha1(octets, usedforsecurity=False).digest() for octets in _named(issuer))
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, int.from_bytes(serial), SHA1())
    return builder.build().public_bytes(Encoding.DER)


def _named(issuer: x509.Certificate) -> tuple[bytes, bytes]:
    """What the hashes of a CertID are made of (RFC 6960 section 4.1.1)."""
    key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return issuer.subject.public_bytes(), key


def test_a_run_is_not_started(home: PreparedHome) -> None:
    refuse_audit(home)
    before, signatures = content(home), home.log_lines
    error = home.sealmint("run", "start", 1, code=AUDIT_FAILED).error
    assert (error["error"], error["rule"]) == ("AuditFailed", "CPS 4.5.6")
    assert content(home) == before
    assert home.log_lines == signatures
    assert home.state() == "planned"


def test_no_crl_is_published_and_then_every_one(ocsp_home: OcspHome) -> None:
    home = ocsp_home.home
    signatures = home.log_lines
    refuse_audit(home)
    with ocsp_home.service("crl_publisher") as publisher:
        assert publisher.wait_until(lambda: publisher.has_said("waiting"))
        assert "CPS 4.5.6" in next(line for line in publisher.said if line["event"] == "waiting")["message"]
        assert home.number("SELECT count(*) FROM crl_issue") == 0
        assert home.log_lines == signatures
        allow_audit(home)
        assert publisher.wait_until(lambda: 0 < home.number(SCOPES) == home.number(PUBLISHED))
        assert publisher.stop() == 0
    ocsp_home.accounted()


def test_no_status_changes_and_answers_are_served(ocsp_home: OcspHome) -> None:
    home = ocsp_home.home
    assert ocsp_home.pre_sign() == 0
    serial = ocsp_home.serials(3)[0]
    revoke = ("cert", "revoke", serial.hex(), "--ground", "key-compromise")
    with ocsp_home.service("follower") as follower:
        assert follower.wait_until(lambda: follower.has_said("following"))
        with StatusReader(ocsp_home.status_store) as reader:
            now = reader.freshness().written_at
            assert follower.wait_until(lambda: reader.presigned(0, serial, now) is not None)
        refuse_audit(home)
        before = content(home)
        error = home.look(*revoke, code=AUDIT_FAILED).error
        assert (error["error"], error["rule"]) == ("AuditFailed", "CPS 4.5.6")
        assert content(home) == before
        with listener_process(ocsp_home.path, question(ocsp_home, serial)) as listener:
            assert _is_good(listener)
        allow_audit(home)
        assert home.look(*revoke).json["certificates"][0]["state"] == "revoked"


def test_a_file_of_acts_does_nothing_and_may_be_handed_in_again(ocsp_home: OcspHome) -> None:
    home = ocsp_home.home
    acts = home.directory / "acts.csv"
    serials = [ocsp_home.serials(card)[0].hex() for card in (3, 5)]
    acts.write_text("serial,ground\n" + "".join(f"{serial},key-compromise\n" for serial in serials))
    refuse_audit(home)
    before = content(home)
    error = home.look("cert", "revoke", "--file", acts, code=AUDIT_FAILED).error
    assert (error["error"], error["rule"]) == ("AuditFailed", "CPS 4.5.6")
    assert content(home) == before
    allow_audit(home)
    home.look("cert", "revoke", "--file", acts)
    revoked = {serial.hex() for (serial,) in home.query("SELECT serial FROM crl_entry")}
    assert revoked >= set(serials)


def test_nothing_is_signed_ahead_and_then_everything(ocsp_home: OcspHome) -> None:
    home = ocsp_home.home
    refuse_audit(home)
    signatures = home.log_lines
    with ocsp_home.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("signing-failed"))
        assert (
            "CPS 4.5.6" in next(line for line in signer.said if line["event"] == "signing-failed")["message"]
        )
        assert home.log_lines == signatures
        assert ocsp_home.answered() == 0
        allow_audit(home)
        assert signer.wait_until(ocsp_home.is_all_answered)
        assert signer.stop() == 0
    ocsp_home.accounted()


def test_nothing_is_signed_live_and_then_it_is(ocsp_home: OcspHome) -> None:
    """A minute of live signatures is recorded at a time, so the one before the failure is noticed leaves still."""
    home = ocsp_home.home
    with (home.path / "sealmint.toml").open("a") as file:
        file.write(SETTINGS)
    assert ocsp_home.pre_sign() == 0
    with ocsp_home.service("follower") as follower:
        assert follower.wait_until(lambda: follower.has_said("following"))
    with live_signer(ocsp_home, interval=3_600) as signer:
        assert signer.wait_until(lambda: signer.has_said("listening"))
        assert _is_signed_live(ocsp_home)
        signer.kill()
    refuse_audit(home)
    with live_signer(ocsp_home, interval=0.01) as signer:
        assert signer.wait_until(lambda: signer.has_said("waiting-for-audit"))
        assert not signer.has_said("listening")
        allow_audit(home)
        assert signer.wait_until(lambda: signer.has_said("listening"))
        assert signer.has_said("journal-recorded")
        refuse_audit(home)
        assert _is_signed_live(ocsp_home)
        assert signer.wait_until(lambda: signer.has_said("audit-failed"))
        signatures = home.log_lines
        assert not _is_signed_live(ocsp_home)
        assert home.log_lines == signatures
        allow_audit(home)
        assert signer.wait_until(lambda: signer.has_said("audit-works-again"))
        assert _is_signed_live(ocsp_home)
        assert signer.stop() == 0
    assert ocsp_home.accounted().others["live OCSP"] == 3


def _is_signed_live(home: OcspHome) -> bool:
    """Whether a question with a nonce is answered; else it must be told to try later."""
    (answer,) = trio.run(ask, settings_of(home.home), live_question(home.home, home.serials(3)[0]))
    if answer == TRY_LATER:
        return False
    assert nonce_in(answer)
    return True


def _is_good(listener: ListenerProcess) -> bool:
    (answer,) = listener.ask()
    response = ocsp.load_der_ocsp_response(answer)
    assert response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return {one.certificate_status for one in response.responses} == {ocsp.OCSPCertStatus.GOOD}
