"""The servers that are measured: each kind with its processes on one port, started and stopped together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bench.ocsp_store import SyntheticAuthority
from responders.listening_sockets import listen, url_of
from responders.supervised_process import module_command

LOOPBACK = ("127.0.0.1", 0)
BARE = Path(__file__).parent / "bare_server.py"
TICKS = os.sysconf("SC_CLK_TCK")


class Servers:
    """Running processes of one kind.

    Args:
        url: where they answer.
        processes: the processes.
    """

    def __init__(self, url: str, processes: list[subprocess.Popen[bytes]]) -> None:
        self.url = url
        self._processes = processes

    def cpu_seconds(self) -> float:
        """The CPU time that the processes have used so far (proc(5), stat: utime and stime)."""
        used = 0
        for process in self._processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
        return used / TICKS


@contextmanager
def running(count: int, command: Callable[[int], tuple[str, ...]]) -> Iterator[Servers]:
    """Run processes, each with a listening socket of its own on the same port, until the block ends.

    Args:
        count: how many.
        command: from the socket's descriptor to the command; the process says `ready` on standard output.
    """
    with ExitStack() as opened:
        sockets = listen(LOOPBACK, count, opened)
        processes = [opened.enter_context(_process(command(one.fileno()), one.fileno())) for one in sockets]
        for process in processes:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == b"ready\n", said
        yield Servers(url_of(sockets), processes)


@contextmanager
def _process(command: tuple[str, ...], descriptor: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, pass_fds=[descriptor], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def listeners(home: Path, count: int) -> AbstractContextManager[Servers]:
    """Run listener processes on a home."""
    return running(
        count, lambda fd: module_command("responders.listener_process", "--home", home, "--socket", fd)
    )


def web(home: Path, count: int) -> AbstractContextManager[Servers]:
    """Run web processes on a home."""
    return running(count, lambda fd: module_command("responders.web_process", "--home", home, "--socket", fd))


def bare(octets: int, count: int, *, one_task: bool = False) -> AbstractContextManager[Servers]:
    """Run bare servers whose whole answer has so many octets; see `bench/bare_server.py`."""
    more = ("--one-task",) if one_task else ()
    return running(count, lambda fd: (sys.executable, str(BARE), str(fd), str(octets), *more))


def write_home(home: Path, authority: SyntheticAuthority) -> Path:
    """Write what listener and web processes need of a home; return where its status store belongs."""
    home.mkdir()
    (home / "sealmint.toml").write_text(
        '[token]\nmodule = "/none"\nlabel = "none"\n[ocsp]\nlive_signer = "{home}/run/none.socket"\n'
        f"stale_seconds = {2**41}\n"  # nobody follows here
    )
    (home / "certificates").mkdir()
    for role in ("ca", "root", "ocsp", "audit", "operations"):
        is_ca = role in ("ca", "root")
        certificate = authority.ca_certificate if is_ca else authority.responder_certificate
        (home / "certificates" / f"{role}.der").write_bytes(certificate)
    return home / "status-store"
