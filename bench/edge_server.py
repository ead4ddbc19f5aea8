"""An nginx with the shipped configuration, as the benchmark of the edge runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.ocsp_servers import TICKS
from tests.edge.running_edge import free_port, replace_in, running_nginx, write_configuration

STATIC = "static.der"
"""The file that it gives, beside what it gives as an edge."""

_STATIC_LOCATION = f"location = /{STATIC} {{ root .; default_type application/ocsp-response; sendfile off; }}"
"""Without sendfile, as copies are given: it is the faster way for the file too."""


class EdgeServer:
    """A running nginx.

    Args:
        url: where it answers.
        pid: of its master process.
    """

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._children = Path(f"/proc/{pid}/task/{pid}/children")

    def cpu_seconds(self) -> float:
        """The CPU time that its workers have used so far, and those who see to the caches."""
        used = 0
        for process in self._children.read_text().split():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
        return used / TICKS


@contextmanager
def edge_server(directory: Path, ocsp: str, static: bytes = b"") -> Iterator[EdgeServer]:
    """Run nginx as an edge until the block ends: two workers, and no limits for the one client of a benchmark.

    Args:
        directory: its prefix; made.
        ocsp: URL of the OCSP listener.
        static: what is in the static file.
    """
    directory.mkdir()
    (directory / STATIC).write_bytes(static)
    place, port = urlsplit(ocsp).netloc, free_port()
    main = write_configuration(directory, port, place, place)
    replace_in(
        main.parent / "site.conf",
        {
            "include sealmint/server.conf;": f"include sealmint/server.conf;\n{_STATIC_LOCATION}",
            "sealmint.log sealmint ;": "sealmint.log sealmint buffer=64k flush=1s;",  # as shipped
        },
    )
    replace_in(
        main.parent / "sealmint" / "server.conf", {"sealmint_connections 64": "sealmint_connections 1000"}
    )
    with running_nginx(directory, main, port) as pid:
        yield EdgeServer(f"http://127.0.0.1:{port}/", pid)
