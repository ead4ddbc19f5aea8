"""sysusers and tmpfiles make what the units count on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.accounts import AUTHORITY, PUBLIC, directories, sysusers_file, tmpfiles_file, users

pytestmark = pytest.mark.judge("systemd")


@pytest.mark.parametrize("role", [AUTHORITY, PUBLIC])
def test_systemd_reads_the_accounts(role: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = _run("systemd-sysusers", "--dry-run", f"--root={tmp_path}", str(sysusers_file(role)))
    accounts, groups = users(role)
    assert {f"'{name}'" for name in accounts} <= set(done.split())
    assert {f"'{name}'" for name in groups} <= set(done.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other accounts")
@pytest.mark.parametrize("role", [AUTHORITY, PUBLIC])
def test_systemd_makes_the_directories(role: str, tmp_path: Path) -> None:
    root = make_host(tmp_path, role)
    numbers = numbers_in(root / "etc" / "passwd") | {"root": 0}
    groups = numbers_in(root / "etc" / "group") | {"root": 0}
    for directory in directories(role):
        status = (root / directory.path[1:]).stat()
        found = status.st_mode & 0o7777, status.st_uid, status.st_gid
        assert found == (directory.mode, numbers[directory.user], groups[directory.group]), directory.path


def make_host(root: Path, *roles: str) -> Path:
    """Make the accounts and directories of hosts below a directory, by systemd's own programs."""
    (root / "etc").mkdir()
    for role in roles:
        _run("systemd-sysusers", f"--root={root}", str(sysusers_file(role)))
        _run("systemd-tmpfiles", "--create", f"--root={root}", str(tmpfiles_file(role)))
    return root


def numbers_in(path: Path) -> dict[str, int]:
    return {
        fields[0]: int(fields[2]) for fields in (line.split(":") for line in path.read_text().splitlines())
    }


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
