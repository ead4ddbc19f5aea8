"""A CA host that serves its feed and a public host that reads it, on loopback, by the product's own commands."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.sealmint_command import SEALMINT, sealmint

STOPPING_SECONDS = 60


@contextmanager
def command(*arguments: object) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Run a command that serves; yield its process and the line of JSON that it printed when it was ready."""
    process = subprocess.Popen(
        [*SEALMINT, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=STOPPING_SECONDS)


def join(home: Path, public_home: Path) -> None:
    """Make a public home that may read the feed of a CA's home."""
    request, admission = public_home.with_suffix(".pem"), public_home.with_suffix(".json")
    sealmint("feed", "request", "--home", public_home, "--name", "bench", "--out", request)
    sealmint("feed", "admit", "--home", home, "--request", request, "--out", admission)
    sealmint("feed", "join", "--home", public_home, "--admission", admission)


def descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            found.extend(map(int, children.read_text().split()))
    return found


class MemoryWatch:
    """Watches the largest memory of the processes below one, while the block runs.

    Attributes:
        own: octets that the largest had for itself at its peak (RssAnon of proc(5)).
        mapped: octets of files that the one with the most of them had mapped and in memory, which the kernel takes
            back when it needs them: the LMDB of the status store.
    """

    def __init__(self, pid: int, every: float = 0.2) -> None:
        self.own = self.mapped = 0
        self._pid = pid
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            try:
                for pid in descendants(self._pid):
                    self._look(pid)
            except OSError:
                continue  # it has ended meanwhile

    def _look(self, pid: int) -> None:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        self.own = max(self.own, 1024 * int(fields["RssAnon"].split()[0]))
        self.mapped = max(self.mapped, 1024 * int(fields["RssFile"].split()[0]))
