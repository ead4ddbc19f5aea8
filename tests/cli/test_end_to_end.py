"""The whole way of a register extract through the command line; OpenSSL says whether the results are good."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.cli.prepared_home import CERTIFICATES, COMPANIES, PreparedHome, copy_of, plan, run_command
from tests.issuance.signature_account import assert_accounted_for

SHIPPED_POLICY = "engine/issuance/policies/all-companies.toml"


@pytest.fixture(scope="module")
def issued(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home whose run 1 is completed, delivered and exported; tests only read it."""
    home = copy_of(prepared, tmp_path_factory.mktemp("issued") / "copy")
    document = home.sealmint("run", "start", 1, "--workers", 2, "--sessions", 1).json
    assert (document["state"], document["issued"], document["failed"]) == ("completed", CERTIFICATES, 0)
    home.look("cert", "export", "--run", 1, "--out", home.directory / "out")
    home.sealmint("card-centre", "deliver", "--run", 1, "--out", home.directory / "delivery")
    return home


def openssl(*arguments: object) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(home: PreparedHome) -> dict[str, x509.Certificate]:
    files = (home.directory / "out").glob("*.der")
    return {path.stem: x509.load_der_x509_certificate(path.read_bytes()) for path in files}


def test_the_calls_that_others_make(tmp_path: Path, prepared: PreparedHome) -> None:
    """The exact calls and the shapes of their answers; the shipped policy, and SoftHSM by itself."""
    home, register = tmp_path / "home", tmp_path / "extract.jsonl"
    register.write_text("".join(prepared.extract.read_text().splitlines(keepends=True)[:5]))
    assert run_command("init", "--home", home).code == 0
    cards = tmp_path / "cards"
    simulate = (
        "card-centre",
        "simulate",
        "--home",
        home,
        "--register",
        register,
        "--out",
        cards,
        "--synthetic",
    )
    assert run_command(*simulate).code == 0
    planning = ("run", "plan", "--home", home, "--register", register, "--card-keys", cards)
    dry = run_command(*planning, "--policy", SHIPPED_POLICY, "--dry-run", "--json")
    assert (dry.code, dry.json["run"], dry.json["items"]) == (0, None, 10)
    assert dry.json["estimated_seconds"] is not None
    planned = run_command(*planning, "--policy", SHIPPED_POLICY, "--json").json
    assert {name: planned[name] for name in ("rows", "items", "rejected")} == {
        "rows": 5,
        "items": 10,
        "rejected": 0,
    }
    started = run_command(
        "run", "start", planned["run"], "--home", home, "--workers", 1, "--sessions", 2, "--json"
    )
    assert started.code == 0
    assert (started.json["issued"], started.json["failed"]) == (10, 0)
    out = tmp_path / "out"
    assert run_command("cert", "export", "--home", home, "--run", planned["run"], "--out", out).code == 0
    assert len(list(out.glob("*.der"))) == 10
    assert (out / "chain.pem").read_text().count("BEGIN CERTIFICATE") == 2


@pytest.mark.judge("openssl")
@pytest.mark.cps("7.1")
def test_every_certificate_verifies_against_the_chain(issued: PreparedHome, tmp_path: Path) -> None:
    certificates = exported(issued)
    assert len(certificates) == CERTIFICATES
    out = issued.directory / "out"
    pems = []
    for path in sorted(out.glob("*.der")):
        pem = tmp_path / f"{path.stem}.pem"
        openssl("x509", "-inform", "DER", "-in", path, "-out", pem)
        pems.append(pem)
    verified = openssl("verify", "-x509_strict", "-CAfile", out / "chain.pem", *pems)
    assert verified.count(": OK") == CERTIFICATES


@pytest.mark.cps("1.3.5.1")
@pytest.mark.cps("3.1.1")
@pytest.mark.cps("6.1.9")
def test_certificates_belong_to_the_company_the_key_and_the_usage(issued: PreparedHome) -> None:
    names = dict(
        issued.query(
            "SELECT identifier, name FROM entity JOIN card ON card.entity_id = entity.id WHERE run_id = 1"
        )
    )
    assert len(names) == COMPANIES
    usages: Counter[tuple[str, bool]] = Counter()
    for file_name, certificate in exported(issued).items():
        ((identifier, usage, key, number),) = issued.query(
            "SELECT entity.identifier, item.usage, item.public_key, card.uniform_number FROM reservation"
            " JOIN item ON item.id = reservation.item_id JOIN card ON card.id = item.card_id"
            " JOIN entity ON entity.id = card.entity_id WHERE hex(reservation.serial) = ?",
            file_name,
        )
        assert certificate.serial_number == int(file_name, 16)
        (organization,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert organization.value == names[identifier]
        assert number in (None, identifier)
        assert key in certificate.tbs_certificate_bytes
        key_usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert key_usage.digital_signature == (usage == "signature")
        assert key_usage.key_encipherment == (usage == "encryption")
        usages[identifier, key_usage.digital_signature] += 1
    assert set(usages.values()) == {1}
    assert len(usages) == CERTIFICATES


def test_totals_add_up(issued: PreparedHome) -> None:
    report = issued.look("run", "report", 1).json
    parts = ("eligible", "rejected", "merged", "already_held")
    assert report["rows"] == COMPANIES == sum(report[part] for part in parts)
    assert (
        report["items"]
        == CERTIFICATES
        == sum(report[part] for part in ("issued", "failed", "aborted", "pending"))
    )
    assert report["issued"] == CERTIFICATES


@pytest.mark.judge("openssl")
def test_the_run_closes_with_a_signed_manifest_of_every_serial(issued: PreparedHome) -> None:
    directory = issued.path / "runs" / "1" / "manifest"
    verify_manifest(issued, directory)
    with (directory / "certificates.csv").open(newline="") as file:
        listed = {row["serial"]: row["sha256"] for row in csv.DictReader(file)}
    files = (issued.directory / "out").glob("*.der")
    assert listed == {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    status = issued.look("run", "status", 1).json
    manifest = (directory / "manifest.json").read_bytes()
    assert status["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert hashlib.sha256((directory / "certificates.csv").read_bytes()).hexdigest().encode() in manifest


@pytest.mark.judge("openssl")
def test_the_card_delivery_is_signed(issued: PreparedHome) -> None:
    verify_manifest(issued, issued.directory / "delivery")


def verify_manifest(home: PreparedHome, directory: Path) -> None:
    root = home.path / "certificates" / "root.pem"
    signature, manifest = directory / "manifest.json.p7s", directory / "manifest.json"
    arguments = ["-inform", "DER", "-in", signature, "-content", manifest, "-CAfile", root, "-purpose", "any"]
    verified = subprocess.run(
        ["openssl", "cms", "-verify", "-binary", *map(str, arguments), "-out", "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr


@pytest.mark.cps("4.4.5(5)")
def test_the_last_certificate_of_the_run_is_fixed(issued: PreparedHome) -> None:
    status = issued.look("run", "status", 1).json
    last = max(issued.query("SELECT hex(serial) FROM reservation"))[0]
    assert status["last_certificate"] == last
    assert status["last_certificate_at"] is not None


def test_the_same_extract_planned_again_issues_nothing_twice(issued: PreparedHome, tmp_path: Path) -> None:
    home = copy_of(issued, tmp_path / "again")
    again = plan(home).json
    assert (again["items"], again["already_held"]) == (0, COMPANIES)


@pytest.mark.cps("6.1.9")
def test_every_signature_is_accounted_for(issued: PreparedHome) -> None:
    account = assert_accounted_for(issued.path, issued=CERTIFICATES)
    assert account.signed_again == 0
    assert account.others.keys() == {"authority certificate", "operations", "checkpoint", "measurement"}


def test_the_audit_log_is_whole(issued: PreparedHome) -> None:
    document = issued.look("audit", "verify").json
    assert document["whole"]
    assert document["findings"] == []
    assert document["checkpoints"] >= 1
