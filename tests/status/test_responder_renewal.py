"""A new OCSP responder in time: when it is due, made once whatever happens between, and both sign good answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from engine.status.responder_renewal import renewal_is_due
from engine.status.status_store import StatusReader
from engine.store.database import Store
from engine.store.schema import CertificateState
from engine.x509 import profiles
from tests.cli.prepared_home import ROOT, copy_of, environment
from tests.issuance.signature_account import account_of
from tests.status.crl_authority import ca_certificate
from tests.status.ocsp_authority import DAY, OcspAuthority
from tests.status.ocsp_home import OcspHome
from tests.store.plans import NOW
from tests.x509.pkix_lint import findings

DEVICE_REMOVED = 0x32
TOKEN_FAILED, STORE_FAILED = 7, 9

MAKE_KEY = """
import sys
from pathlib import Path
from engine.authority.signing import open_token, read_pin
from engine.config import load_configuration
from engine.home import Home
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair
home = Home(Path(sys.argv[1]))
configuration = load_configuration(home.path)
token = open_token(home, configuration)
generate_key_pair(token, read_pin(configuration), KeyReference("ocsp-2"), KeyType.RSA_2048)
"""


@pytest.fixture
def home(issued_home: OcspHome, tmp_path: Path) -> OcspHome:
    return OcspHome(copy_of(issued_home.home, tmp_path / "copy"))


def responder(home: OcspHome, role: str) -> x509.Certificate:
    return home.certificate(role)


def key_hash(certificate: x509.Certificate) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def keys_made(home: OcspHome, label: str) -> list[bytes]:
    """The public keys that records say were made under a label."""
    rows = home.home.query("SELECT body FROM audit_record WHERE event = 'key.generated'")
    bodies = [json.loads(body) for (body,) in rows]
    return [bytes.fromhex(body["public_key"]) for body in bodies if body["label"] == label]


# ---- when ----


@pytest.mark.parametrize(
    ("left", "due"),
    [(timedelta(days=61), False), (timedelta(days=60), False), (timedelta(days=60, seconds=-1), True)],
    ids=["61 days left", "60 days left", "less than 60"],
)
def test_it_is_due_before_the_one_in_charge_ends(
    store: Store, tmp_path: Path, left: timedelta, due: bool
) -> None:
    ca = OcspAuthority(store, tmp_path)
    ca.add_responder(NOW, NOW + 400 * DAY)
    ca.clock.move(400 * DAY - left)
    assert renewal_is_due(ca.context) is due


def test_it_is_due_when_there_is_none_left(store: Store, tmp_path: Path) -> None:
    ca = OcspAuthority(store, tmp_path)
    ca.clock.move(6_000 * DAY)
    assert renewal_is_due(ca.context)


def test_none_can_outlive_its_ca(store: Store, tmp_path: Path) -> None:
    ca = OcspAuthority(store, tmp_path)
    end = ca_certificate().not_valid_after_utc
    ca.add_responder(NOW, end)
    ca.clock.move(end - NOW - DAY)
    assert not renewal_is_due(ca.context)
    ca.clock.move(DAY)
    assert not renewal_is_due(ca.context)


# ---- how ----


@pytest.fixture(scope="module")
def renewed(issued_home: OcspHome, tmp_path_factory: pytest.TempPathFactory) -> OcspHome:
    """All cards are answered, then the responder is renewed; tests only read it, or copy it."""
    home = OcspHome(copy_of(issued_home.home, tmp_path_factory.mktemp("renewed") / "copy"))
    assert home.pre_sign() == 0
    answer = home.home.sealmint("ocsp", "renew-responder", "--now").json
    assert answer == {"renewed": True, "responder": "ocsp-2"}
    return home


@pytest.mark.cps("6.1.9")
@pytest.mark.judge("pkilint")
def test_the_new_certificate_is_an_ocsp_responders(renewed: OcspHome) -> None:
    old, new = responder(renewed, "ocsp"), responder(renewed, "ocsp-2")
    assert key_hash(old) != key_hash(new)
    new.verify_directly_issued_by(renewed.certificate("ca"))
    usage = new.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert not new.extensions.get_extension_for_class(x509.OCSPNoCheck).critical
    assert findings(new.public_bytes(Encoding.DER)) == findings(old.public_bytes(Encoding.DER))
    (made,) = keys_made(renewed, "ocsp-2")
    assert made == new.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert renewed.home.look("ocsp", "status").json["responder"] == "ocsp-2"


@pytest.mark.judge("openssl")
def test_old_answers_keep_the_old_certificate_and_new_ones_have_the_new(
    renewed: OcspHome, tmp_path: Path
) -> None:
    home = OcspHome(copy_of(renewed.home, tmp_path / "copy"))
    home.act(2, 0, CertificateState.REVOKED)
    assert home.home.sealmint("ocsp", "presign", "--signers", 1).json["owed"] == 0
    with StatusReader(home.status_store) as reader:
        now = int(datetime.now(UTC).timestamp())
        answers = [reader.presigned(0, home.serials(card)[0], now) for card in (1, 2)]
    expected = [("ocsp", ["good", "good"]), ("ocsp-2", ["revoked", "good"])]
    for card, answer, (role, states) in zip((1, 2), answers, expected, strict=True):
        assert answer is not None
        parsed = ocsp.load_der_ocsp_response(answer.response)
        certificate = responder(home, role)
        assert (parsed.responder_key_hash, parsed.certificates) == (key_hash(certificate), [certificate])
        said = home.ask_openssl(answer.response, home.serials(card), "sha256")
        assert "Response verify OK" in said
        assert re.findall(r"^0x[0-9a-f]+: (\w+)$", said, re.MULTILINE) == states
    home.accounted()


def test_a_signer_at_work_changes_over(home: OcspHome) -> None:
    with home.service("pre_signer", settings={"pre_signer.RESPONDER_CHECK_SECONDS": 0.1}) as signer:
        assert signer.wait_until(home.is_all_answered)
        home.home.sealmint("ocsp", "renew-responder", "--now")
        assert signer.wait_until(lambda: signer.has_said("responder-changed"))
        home.act(2, 0, CertificateState.REVOKED)
        assert signer.wait_until(home.is_all_answered)
        assert signer.stop() == 0
    numbers = dict(home.home.query("SELECT role, id FROM authority_certificate WHERE role LIKE 'ocsp%'"))
    signed = dict(home.home.query("SELECT card_id, responder_id FROM ocsp_answer"))
    assert (signed[1], signed[2]) == (numbers["ocsp"], numbers["ocsp-2"])
    home.accounted()


# ---- what befalls it ----


def test_broken_off_it_is_finished_by_the_next(home: OcspHome) -> None:
    """The key was made and the certificate recorded, but not signed."""
    away = home.home.hsm.fail_one_in("C_Sign", DEVICE_REMOVED, 1)
    home.home.sealmint("ocsp", "renew-responder", "--now", code=TOKEN_FAILED)
    assert home.home.look("ocsp", "status").json["responder"] == "ocsp"
    (tbs,) = home.home.query("SELECT tbs FROM authority_certificate WHERE role = 'ocsp-2'")
    home.home.hsm.disarm(away)
    assert home.home.sealmint("ocsp", "renew-responder", "--now").json["responder"] == "ocsp-2"
    assert home.home.query("SELECT tbs FROM authority_certificate WHERE role = 'ocsp-2'") == [tbs]
    assert len(keys_made(home, "ocsp-2")) == 1
    assert home.home.look("ocsp", "status").json["responder"] == "ocsp-2"
    assert not account_of(home.path).unaccounted


def test_a_key_without_a_record_gets_it(home: OcspHome) -> None:
    """Whoever made it was killed before the record was written."""
    subprocess.run([sys.executable, "-c", MAKE_KEY, str(home.path)], check=True, cwd=ROOT, env=environment())
    assert keys_made(home, "ocsp-2") == []
    home.home.sealmint("ocsp", "renew-responder", "--now")
    (made,) = keys_made(home, "ocsp-2")
    new = responder(home, "ocsp-2")
    assert made == new.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_only_one_process_makes_it(home: OcspHome) -> None:
    late = int((datetime.now(UTC) + timedelta(minutes=5)).timestamp() * 1_000_000)
    home.home.change(
        "INSERT INTO lease (name, holder, fence, until) VALUES ('responder-renewal', 'another', 1, ?)", late
    )
    answer = home.home.sealmint("ocsp", "renew-responder", "--now", code=STORE_FAILED)
    assert answer.error["error"] == "LeaseLost"
    assert keys_made(home, "ocsp-2") == []


def test_the_crl_publisher_renews_by_itself(home: OcspHome) -> None:
    shipped = Path(profiles.__file__).with_name("shipped") / "moeaca-2.3.toml"
    before = 'validity = "P20Y" # as the CA\'s public key'
    text = shipped.read_text("utf-8")
    assert before in text
    short = home.path / "profiles.toml"
    short.write_text(text.replace(before, 'validity = "P1Y" #'), "utf-8")
    home.home.configure("[token]\n", f'[x509]\nprofiles = "{short}"\n\n[token]\n')
    home.home.sealmint("ocsp", "renew-responder", "--now")
    assert home.home.look("ocsp", "renew-responder").json == {"renewed": False}
    home.home.configure("[token]\n", "[ocsp]\ncertificate_renewal_days = 400\n\n[token]\n")
    with home.service("crl_publisher") as publisher:
        assert publisher.wait_until(lambda: publisher.has_said("responder-renewed"))
        assert publisher.stop() == 0
    assert home.home.look("ocsp", "status").json["responder"] == "ocsp-3"
    home.accounted()
