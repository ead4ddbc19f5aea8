"""How a public host is admitted to the feed, and what the two files must not be."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.clock import SystemClock
from engine.config import load_public_configuration
from engine.feed.self_signed import new_key, self_signed
from tests.cli.prepared_home import PreparedHome
from tests.feed_pull.two_homes import NAME, PublicHome, admitted
from tests.judges.program import tell


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def audited(home: PreparedHome, event: str) -> list[dict[str, str]]:
    rows = home.query("SELECT body FROM audit_record WHERE event = ? ORDER BY sequence", event)
    return [json.loads(body) for (body,) in rows]


@pytest.mark.cps("6.7")
def test_a_host_asks_is_admitted_and_learns_whom_to_believe(home: PreparedHome, tmp_path: Path) -> None:
    public = admitted(home, tmp_path)
    for role in ("root", "ca", "operations"):
        path = Path("certificates") / f"{role}.der"
        assert (public.path / path).read_bytes() == (home.path / path).read_bytes()
    assert (public.path / "feed/server.pem").read_bytes() == (home.path / "feed/server.pem").read_bytes()
    assert load_public_configuration(public.path).role == "public"
    (record,) = audited(home, "feed.reader-admitted")
    own = x509.load_pem_x509_certificate((public.path / "feed/own.pem").read_bytes())
    assert (record["reader"], record["certificate_sha256"]) == (NAME, own.fingerprint(SHA256()).hex())
    admission = tmp_path / "admission.json"
    told = public.look("feed", "join", "--admission", admission).json
    root = (home.path / "certificates/root.der").read_bytes()
    assert told["root_sha256"].replace(":", "").lower() == tell_sha256(root, tmp_path)


def tell_sha256(octets: bytes, directory: Path) -> str:
    path = directory / "hashed"
    path.write_bytes(octets)
    return subprocess.run(["sha256sum", path], capture_output=True, check=True).stdout.decode().split()[0]


@pytest.mark.cps("6.7")
def test_keys_are_for_their_owner_alone(home: PreparedHome, tmp_path: Path) -> None:
    public = admitted(home, tmp_path)
    for path in (public.path / "secrets/feed-key.pem", home.path / "secrets/feed-server-key.pem"):
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
    assert mode(public.path) == mode(public.path / "certificates") == 0o750
    assert mode(public.path / "sealmint.toml") == mode(public.path / "certificates/ca.der") == 0o640


@pytest.mark.judge("openssl")
def test_openssl_takes_the_certificates_at_both_ends(home: PreparedHome, tmp_path: Path) -> None:
    public = admitted(home, tmp_path)
    for path, purpose in (
        (public.path / "feed/own.pem", "sslclient"),
        (home.path / "feed/server.pem", "sslserver"),
    ):
        said = tell("openssl", "verify", "-purpose", purpose, "-CAfile", path, path)
        assert said.text.rstrip().endswith("OK")
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert not constraints.ca
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_asking_and_admitting_again_change_nothing(home: PreparedHome, tmp_path: Path) -> None:
    public = admitted(home, tmp_path)
    files = [public.path / "feed/own.pem", home.path / "feed/server.pem", tmp_path / "admission.json"]
    before = [path.read_bytes() for path in files]
    admitted(home, tmp_path)
    assert [path.read_bytes() for path in files] == before
    assert len(audited(home, "feed.reader-admitted")) == 1
    refused = public.look("feed", "request", "--name", "other", "--out", tmp_path / "r", code=5)
    assert refused.error["value"] == NAME


def test_a_name_belongs_to_one_key_until_it_is_dismissed(home: PreparedHome, tmp_path: Path) -> None:
    admitted(home, tmp_path)
    other = tmp_path / "other.pem"
    other.write_bytes(self_signed(NAME, new_key(), SystemClock()))
    admit = ("feed", "admit", "--request", other, "--out", tmp_path / "out.json")
    assert "another key" in home.look(*admit, code=3).error["message"]
    home.look("feed", "dismiss", "--name", NAME)
    assert not (home.path / "feed/admitted" / f"{NAME}.pem").exists()
    assert [record["reader"] for record in audited(home, "feed.reader-dismissed")] == [NAME]
    home.look(*admit)
    assert (home.path / "feed/admitted" / f"{NAME}.pem").read_bytes() == other.read_bytes()
    home.look("feed", "dismiss", "--name", "nobody", code=3)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A", "-a", "a-", "x" * 65, "名", "a b", "a\n"])
def test_a_name_that_is_not_plain_is_refused_at_both_ends(
    home: PreparedHome, tmp_path: Path, name: str
) -> None:
    public = PublicHome(tmp_path / "public")
    refused = public.look("feed", "request", "--name", name, "--out", tmp_path / "r.pem", code=3)
    assert refused.error["place"] == "name"
    assert not (tmp_path / "r.pem").exists()


def test_what_is_no_request_admits_nobody(home: PreparedHome, tmp_path: Path) -> None:
    one, other = (self_signed("a", new_key(), SystemClock()) for _ in range(2))
    certificate = x509.load_pem_x509_certificate(one)
    spoiled = bytearray(certificate.public_bytes(Encoding.DER))
    spoiled[-1] ^= 1
    ca = x509.load_der_x509_certificate((home.path / "certificates/ca.der").read_bytes())
    root = x509.load_der_x509_certificate((home.path / "certificates/root.der").read_bytes())
    forged = x509.load_der_x509_certificate(bytes(spoiled))
    wrong = [b"", b"no PEM", one + other, *(each.public_bytes(Encoding.PEM) for each in (ca, root, forged))]
    for octets in wrong:
        path = tmp_path / "wrong.pem"
        path.write_bytes(octets)
        home.look("feed", "admit", "--request", path, "--out", tmp_path / "out.json", code=3)
    assert audited(home, "feed.reader-admitted") == []
    assert not (tmp_path / "out.json").exists()
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "a"


@pytest.mark.cps("2.6.3")
def test_an_admission_whose_certificates_do_not_belong_together_is_refused(
    home: PreparedHome, tmp_path: Path
) -> None:
    public = admitted(home, tmp_path)
    document = json.loads((tmp_path / "admission.json").read_text())
    for changed in (
        {"root": document["ca"]},
        {"ca": document["operations"]},
        {"operations": document["root"]},
        {"feed": "00" * 20},
        {"server": "no certificate"},
        {"ca": "no base64!"},
        {"more": 1},
    ):
        path = tmp_path / "wrong.json"
        path.write_text(json.dumps(document | changed))
        public.look("feed", "join", "--admission", path, code=3)
    stranger = PublicHome(tmp_path / "stranger")
    stranger.look("feed", "join", "--admission", tmp_path / "admission.json", code=5)


def test_a_cas_home_reads_no_feed_and_a_public_one_serves_none(home: PreparedHome, tmp_path: Path) -> None:
    public = admitted(home, tmp_path)
    home.look("feed", "pull", code=5)
    home.look("feed", "request", "--name", "x", "--out", tmp_path / "x", code=5)
    public.look("feed", "serve", code=5)
    public.look("feed", "admit", "--request", tmp_path / "request.pem", "--out", tmp_path / "x", code=5)
    public.look("feed", "pull", code=4)  # nobody says from where
