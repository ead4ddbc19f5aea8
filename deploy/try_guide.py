"""Tries docs/deployment.md as a new operator would: `python -m deploy.try_guide DIRECTORY`.

Runs its blocks marked `authority` and `public`, in their order, with the shell. The directory takes the place of the
two hosts' file systems. What only a host has is stood in for: `systemctl` starts what the unit would, `runuser` stays
who it is, and each host has ports of its own on loopback. Whatever was started is stopped at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from deploy.unit_files import SERVICES, read_unit

PROJECT = Path(__file__).parent.parent
GUIDE = PROJECT / "docs" / "deployment.md"
PORTS = ("2560", "8080", "8443", "8444", "9480")
FEED_PORT = "8443"
ROLES = ("authority", "public")
_OUR_PORTS = 20_000, 32_768
"""The upper end: net.ipv4.ip_local_port_range begins there; the lower one is a guess."""

_BLOCK = re.compile(r"^```sh (authority|public)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_SYSTEMCTL = """#!/bin/bash
# systemctl enable --now NAME: a timer's service runs once, any other stays.
for name in "$@"; do
    unit=$TRIAL/units/${name%.*}
    case $name in
        *.timer) "$unit" ;;
        *.service) "$unit" >>"$TRIAL/$name.log" 2>&1 & echo $! >>"$TRIAL/pids" ;;
    esac
done
"""
_RUNUSER = """#!/bin/bash
# runuser -u ACCOUNT -- COMMAND...
shift 3
exec "$@"
"""


def blocks() -> list[tuple[str, str]]:
    """Return what the guide marks for the trial: on which host, and the commands."""
    return _BLOCK.findall(GUIDE.read_text())


def main() -> None:
    """Try the guide; exit 0 when every command succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="a directory that is not there yet")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # not without stopping the rest
    trial = Trial(parser.parse_args().directory.absolute())
    with trial.stopped_at_the_end():
        for role, text in blocks():
            print(f"\n== {role}\n{text}", end="", flush=True)
            trial.run(role, text)
    print("\nthe guide works")


class Trial:
    """A directory in which the guide is tried.

    Args:
        directory: is made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("carried", *(f"{role}/units" for role in ROLES)):
            (directory / name).mkdir(parents=True)
        with ExitStack() as held:
            self._ports = {role: {port: _free_port(held) for port in PORTS} for role in ROLES}
        for role in ROLES:
            self._stand_ins(directory / role, role)

    def run(self, role: str, text: str) -> None:
        """Run commands of a host.

        Raises:
            SystemExit: one failed, with its exit code.
        """
        environment = os.environ | {
            "PATH": f"{self._directory / role}:{os.environ['PATH']}",
            "TRIAL": str(self._directory / role),
        }
        script = "set -euo pipefail\numask 027\n" + self._here(role, text)
        done = subprocess.run(["bash", "-c", script], env=environment, cwd=self._directory, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)

    @contextmanager
    def stopped_at_the_end(self) -> Iterator[None]:
        """Stop what was started, and wait for its end."""
        try:
            yield
        finally:
            for role in reversed(ROLES):
                pids = self._directory / role / "pids"
                for line in pids.read_text().split() if pids.exists() else ():
                    _stop(int(line))

    def _here(self, role: str, text: str) -> str:
        """Put the trial's places and ports where the guide has those of a host."""
        feed = f"127.0.0.1:{self._ports['authority'][FEED_PORT]}"
        text = text.replace(f"ca-host.example:{FEED_PORT}", feed)
        for port, own in self._ports[role].items():
            text = re.sub(rf"(?<=0\.0\.[01]:){port}\b", own, text)
        text = text.replace("0.0.0.0:", "127.0.0.1:")
        text = text.replace("/var/lib/sealmint-public", str(self._directory / "public" / "home"))
        text = text.replace("/var/lib/sealmint", str(self._directory / "authority" / "home"))
        text = text.replace("/media/carried", str(self._directory / "carried"))
        return text.replace("/usr/local/src/sealmint", str(PROJECT))

    def _stand_ins(self, directory: Path, role: str) -> None:
        sealmint = shlex.join([sys.executable, "-P", "-m", "engine.cli.main"])
        _script(directory / "sealmint", f'#!/bin/bash\nexec {sealmint} "$@"\n')
        _script(directory / "systemctl", _SYSTEMCTL)
        _script(directory / "runuser", _RUNUSER)
        for path in SERVICES:
            unit = read_unit(path)
            words = [f"SEALMINT_HOME={unit.environment['SEALMINT_HOME']}", "sealmint", *unit.command()[1:]]
            _script(
                directory / "units" / path.stem,
                f"#!/bin/bash\nexec env {self._here(role, shlex.join(words))}\n",
            )


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _free_port(held: ExitStack) -> str:
    """Find a port below those that the kernel gives to connections that go out: none of them takes it meanwhile."""
    while True:
        listening = held.enter_context(socket.socket())
        with suppress(OSError):
            listening.bind(("127.0.0.1", random.randrange(*_OUR_PORTS)))
            return str(listening.getsockname()[1])


def _stop(pid: int) -> None:
    """Stop a process that a shell of ours left behind, which is nobody's child by now."""
    try:
        waiting = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(waiting):
        signal.pidfd_send_signal(waiting, signal.SIGTERM)
        select.select([waiting], [], [])  # readable when the process has ended (pidfd_open(2))


if __name__ == "__main__":
    main()
