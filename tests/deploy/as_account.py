"""Commands as another account of the machine: a number that need not be in /etc/passwd. For tests that run as root."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.cli.prepared_home import ROOT


@dataclass(frozen=True)
class Account:
    """Numbers of a user and of his groups, the first of them his own."""

    user: int
    groups: tuple[int, ...]

    def command(self, *words: object) -> list[str]:
        """Return the command that becomes the account, with no capability left, and then these words."""
        rights = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
        numbers = (f"--reuid={self.user}", f"--regid={self.groups[0]}")
        groups = ",".join(map(str, self.groups))
        return [*_opened(), "setpriv", *rights, *numbers, f"--groups={groups}", *map(str, words)]


@cache
def why_not() -> str | None:
    """Say why nobody can become another account here; None if it can be done."""
    if os.geteuid() != 0:
        return "only root becomes another account"
    try:
        done = subprocess.run(
            Account(54321, (54321,)).command(sys.executable, "-c", "import encodings.idna, ssl"),
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr


def _opened() -> list[str]:
    """Words before a command that let others reach the interpreter where it lies in somebody's closed directory.

    In a mount namespace of its own an empty directory takes the place of the closed one, with nothing in it but the way
    to the interpreter. Nothing changes outside.
    """
    needed = [Path(sys.base_prefix), Path(sys.prefix), ROOT]
    closed = {parent for path in needed for parent in path.resolve().parents if not _may_enter(parent)}
    if not closed:
        return []
    (outer,) = [one for one in closed if not any(other in one.parents for other in closed)]
    kept = [path.resolve() for path in needed if outer in path.resolve().parents]
    lines = [
        "set -e",
        "mask=$(umask)",
        "umask 022",
        "aside=$(mktemp -d)",
        'mount -t tmpfs -o mode=755 tmpfs "$aside"',
    ]
    for number, path in enumerate(kept):
        lines += [f'mkdir "$aside/{number}"', f'mount --bind {shlex.quote(str(path))} "$aside/{number}"']
    lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(outer))}")
    for number, path in enumerate(kept):
        place = shlex.quote(str(path))
        lines += [f"mkdir -p {place}", f'mount --bind "$aside/{number}" {place}']
    lines += ['umount -R "$aside"', 'rmdir "$aside"', 'umask "$mask"', 'exec "$@"']
    assert shutil.which("unshare"), "util-linux"
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines), "sh"]


def _may_enter(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_IXOTH)
