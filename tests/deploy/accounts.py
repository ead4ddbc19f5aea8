"""The accounts and directories of a host as sysusers.d and tmpfiles.d name them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from deploy.unit_files import DEPLOY

AUTHORITY, PUBLIC = "authority", "public"


@dataclass(frozen=True)
class Directory:
    """A line of tmpfiles.d."""

    path: str
    mode: int
    user: str
    group: str


def sysusers_file(role: str) -> Path:
    return DEPLOY / "sysusers.d" / f"sealmint-{role}.conf"


def tmpfiles_file(role: str) -> Path:
    return DEPLOY / "tmpfiles.d" / f"sealmint-{role}.conf"


def directories(role: str) -> list[Directory]:
    """Read what is made on a host of the role; anything but plain directories is a fault."""
    found = []
    for kind, path, mode, user, group, age in _lines(tmpfiles_file(role)):
        assert (kind, age) == ("d", "-"), path
        found.append(Directory(path, int(mode, 8), user, group))
    return found


def users(role: str) -> tuple[set[str], set[str]]:
    """Read the accounts and groups of a host of the role; each account has a group of its name, or one named."""
    accounts, groups = set(), set()
    for kind, name, number, *rest in _lines(sysusers_file(role)):
        if kind == "u":
            accounts.add(name)
            groups.add(number.partition(":")[2] or name)
            assert rest[-1] == "/usr/sbin/nologin"
        else:
            assert kind in {"g", "m"}, kind
            groups.add(name if kind == "g" else number)
    return accounts, groups


def _lines(path: Path) -> list[list[str]]:
    lines = path.read_text().splitlines()
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]
