"""A home made with a umask that forbids nothing is for its owner only; a secret said by mistake is not repeated.

What the public host holds is looked at in `feed_pull/test_public_host_secrets.py`, the form of a PIN file in
`pkcs11/test_pin.py`, the modes of control sockets' directories in `control/test_control_socket.py`.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.prepared_home import ROOT, PreparedHome, run_command, run_here
from tests.security.planted_secrets import found_in, secrets_of, spellings
from tests.softhsm import SOFTHSM


@pytest.fixture(autouse=True)
def umask_of_nothing() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(home: Path) -> set[str]:
    """What would be open to others if somebody opened the home itself to them."""
    return {
        str(path.relative_to(home))
        for path in home.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    }


def test_secrets_are_found_in_every_spelling() -> None:
    secrets = {"pin": b"correct horse"}
    for before in range(4):
        around = b"x" * before + secrets["pin"] + b"yz"
        for told in (around, around.hex().encode(), around.hex().upper().encode(), b64encode(around)):
            assert found_in(b"said: " + told, secrets) == ["pin"]
    assert found_in(b64encode(b"correct house"), secrets) == []
    assert len(spellings(b"077745641184")) >= 5


def test_a_new_home_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = run_command("init", "--home", home, "--json", SEALMINT_PKCS11_MODULE=str(SOFTHSM))
    assert made.code == 0, made.err
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    directories = [path for path in home.iterdir() if path.is_dir()]
    assert {path.name for path in directories} > {
        "secrets",
        "audit",
        "certificates",
        "token",
        "locks",
        "runs",
    }
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in directories} == {
        path.name: "0o700" for path in directories
    }
    opened = open_to_others(home)
    assert not any(name.startswith(("secrets/", "locks/", "token/", "sealmint.toml")) for name in opened)
    assert found_in((made.out + made.err).encode(), secrets_of(home)) == []


@pytest.mark.cps("6.4.1")
def test_a_pin_written_into_the_configuration_is_not_repeated(prepared: PreparedHome, tmp_path: Path) -> None:
    secrets = secrets_of(prepared.path)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    text = (prepared.path / "sealmint.toml").read_text()
    pin = secrets["token-pin"].decode()
    (home / "sealmint.toml").write_text(text.replace("[token]", f'[token]\npin = "{pin}"'))
    refused = run_here("run", "status", "--home", home, "--json")
    assert refused.code == 4
    assert "token.pin" in refused.err
    assert found_in((refused.out + refused.err).encode(), secrets) == []


@pytest.mark.cps("6.4.1")
@pytest.mark.parametrize(
    "words",
    [
        ("register", "check", "--register", "FILE"),
        ("run", "plan", "--register", "FILE", "--card-keys", "CARDS", "--policy", "POLICY", "--home", "HOME"),
        (
            "run",
            "plan",
            "--register",
            "EXTRACT",
            "--card-keys",
            "FILE",
            "--policy",
            "POLICY",
            "--home",
            "HOME",
        ),
        (
            "run",
            "plan",
            "--register",
            "EXTRACT",
            "--card-keys",
            "CARDS",
            "--policy",
            "FILE",
            "--home",
            "HOME",
        ),
        ("cert", "revoke", "--file", "FILE", "--ground", "key-compromise", "--home", "HOME"),
        ("feed", "admit", "--request", "FILE", "--out", "OUT", "--home", "HOME"),
    ],
    ids=" ".join,
)
def test_a_secret_file_given_by_mistake_is_not_repeated(
    words: tuple[str, ...], prepared: PreparedHome, tmp_path: Path
) -> None:
    """Neither the PIN's nor a private key's, of which no line may be told."""
    key = prepared.path / "card-centre" / "card-centre.key"
    for path in (prepared.path / "secrets" / "token-pin", key):
        places = {"FILE": path, "OUT": tmp_path / "out", "HOME": prepared.path, "CARDS": prepared.cards}
        places |= {"EXTRACT": prepared.extract, "POLICY": prepared.policy}
        refused = run_here(*(places.get(word, word) for word in words), "--json")
        assert refused.code not in (0, 1, 2), (refused.out, refused.err)
        told = (refused.out + refused.err).encode()
        assert found_in(told, secrets_of(prepared.path)) == []
        assert not any(line in told for line in path.read_bytes().splitlines())


def test_forbidding_cores_makes_a_process_undumpable() -> None:
    asked = (
        "import ctypes, resource\n"
        "from engine.process_hardening import forbid_cores\n"
        "forbid_cores()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"  # PR_GET_DUMPABLE
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout == "(0, 0) 0\n"
