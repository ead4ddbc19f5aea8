"""Making a home: in one go, killed and finished, and again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.prepared_home import ROOT, PreparedHome, command, environment, kill, run_command
from tests.hsm_shim import HsmShim, build
from tests.issuance.signature_account import account_of
from tests.softhsm import SOFTHSM

ROLES = {"root", "ca", "ocsp", "audit", "operations"}
STEPS_BETWEEN_KILLS = 3


@pytest.mark.cps("6.1.9")
def test_a_home_whose_making_is_killed_again_and_again_is_finished(tmp_path: Path) -> None:
    """Killed after every third step, and each time called again: one certificate a role, no signature unaccounted."""
    home = tmp_path / "home"
    shim = HsmShim(home / "hsm", SOFTHSM)
    library = build(ROOT / "build" / "libhsm_shim.so")
    told = environment(SEALMINT_PKCS11_MODULE=str(library), PYTHONUNBUFFERED="1", **shim.environment)
    kills = 0
    while True:
        with subprocess.Popen(
            command("init", "--home", home),
            env=told,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            steps = [process.stdout.readline() for _ in range(STEPS_BETWEEN_KILLS)]
            if all(steps):
                kills += kill(process.pid)
            else:
                assert process.wait() == 0, process.stderr.read()
                break
    assert kills >= 3
    made = PreparedHome(tmp_path)
    assert {
        role for (role,) in made.query("SELECT role FROM authority_certificate WHERE signature IS NOT NULL")
    } == ROLES
    assert made.number("SELECT count(*) FROM authority_certificate") == len(ROLES)
    account = account_of(home)
    assert account.unaccounted == []
    assert account.others["authority certificate"] >= len(ROLES)
    checked = run_command("token", "check", "--home", home, "--json", **shim.environment)
    assert checked.code == 0, checked.err
    assert run_command("audit", "verify", "--home", home, "--json").json["whole"]


def test_a_finished_home_is_left_as_it_is(home: PreparedHome) -> None:
    before = home.query("SELECT role, serial, signature FROM authority_certificate")
    signatures = home.log_lines
    document = home.sealmint("init").json
    assert document["steps"] == []
    assert home.query("SELECT role, serial, signature FROM authority_certificate") == before
    assert home.log_lines == signatures


@pytest.mark.judge("openssl")
@pytest.mark.cps("6.1.9")
def test_the_servants_are_certified_by_the_ca_with_keys_of_their_own(
    prepared: PreparedHome, tmp_path: Path
) -> None:
    directory = prepared.path / "certificates"
    keys = set()
    for role in sorted(ROLES):
        pem = tmp_path / f"{role}.pem"
        path = directory / f"{role}.der"
        subprocess.run(["openssl", "x509", "-inform", "DER", "-in", path, "-out", pem], check=True)
        verified = subprocess.run(
            ["openssl", "verify", "-CAfile", directory / "chain.pem", pem],
            capture_output=True,
            text=True,
            check=False,
        )
        assert verified.returncode == 0, verified.stderr
        keys.add(
            subprocess.run(
                ["openssl", "x509", "-in", pem, "-noout", "-pubkey"], capture_output=True, check=True
            ).stdout
        )
    assert len(keys) == len(ROLES)


def test_secrets_are_for_their_owner_only(prepared: PreparedHome) -> None:
    assert (prepared.path / "secrets").stat().st_mode & 0o077 == 0
    for name in ("token-pin", "token-so-pin"):
        assert (prepared.path / "secrets" / name).stat().st_mode & 0o177 == 0
