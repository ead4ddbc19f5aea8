"""The processes that serve: which they are, how much memory each has, how many connections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.processes import children_of, open_files

_MEMORY = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class ServedProcess:
    """A process.

    Attributes:
        pid: its number.
        name: the module it runs.
    """

    pid: int
    name: str

    def memory(self) -> int:
        """How many octets it has for itself (proc(5): RssAnon); files that it maps do not count."""
        found = _MEMORY.search(Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1_024

    def sockets(self) -> int:
        """How many sockets it has open."""
        return sum(target.startswith("socket:") for target in open_files(self.pid).values())


def family_of(pid: int) -> list[ServedProcess]:
    """A process and its children, in the order of their numbers."""
    return [ServedProcess(one, _name(one)) for one in (pid, *children_of(pid))]


def _name(pid: int) -> str:
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    module = arguments[arguments.index("-m") + 1]
    if module == "engine.cli.main":
        names = arguments[arguments.index("-m") + 2 : arguments.index("--home")]
        return " ".join(names)
    return module.removeprefix("responders.")
