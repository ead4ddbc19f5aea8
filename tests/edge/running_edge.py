"""A real nginx with the shipped configuration, in a directory of its own, on loopback ports of the test's choice.

What is changed of the shipped files is what an operator changes: addresses, directories, rates.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cli.prepared_home import ROOT, SAFETY_NET, wait_until

SHIPPED = ROOT / "deploy" / "nginx"
NGINX = "/usr/sbin/nginx"  # Debian's place, which is not on everybody's PATH
MANY = "1000000r/s"
"""A rate that no test reaches unawares."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes

    @property
    def cache(self) -> str:
        """What the edge says of its copy: hit, or why it asked further; empty where it kept out of it."""
        return self.headers.get("cache-status", "").removeprefix("sealmint-edge; ")


def ask(
    url: str, method: str, target: str, body: bytes | None = None, source: str = "127.0.0.1", **fields: str
) -> Answer:
    """Ask on a connection of its own.

    Args:
        url: of the server.
        method: of the request.
        target: as it is sent.
        body: of the request.
        source: the client's address.
        fields: header fields, `_` for `-` in their names.
    """
    connection = http.client.HTTPConnection(
        urlsplit(url).netloc, timeout=SAFETY_NET, source_address=(source, 0)
    )
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, target, body, headers)
        got = connection.getresponse()
        named = {name.lower(): value for name, value in got.getheaders()}
        assert len(named) == len(got.getheaders()), got.getheaders()  # no field twice
        return Answer(got.status, named, got.read())
    finally:
        connection.close()


@dataclass(frozen=True)
class Edge:
    """A running edge.

    Args:
        directory: its prefix: logs and caches are in it.
        port: where it listens.
        pid: of the master process.
    """

    directory: Path
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self, method: str, target: str, body: bytes | None = None, source: str = "127.0.0.1", **fields: str
    ) -> Answer:
        """As `ask`, of this edge."""
        return ask(self.url, method, target, body, source, **fields)

    def get(self, target: str, **fields: str) -> Answer:
        return self.ask("GET", target, None, "127.0.0.1", **fields)

    def post(self, body: bytes, target: str = "/", **fields: str) -> Answer:
        return self.ask("POST", target, body, "127.0.0.1", **fields)

    def raw(self, octets: bytes, *, to_the_end: bool = False) -> bytes:
        """Send octets as they are; return the first response, or all that comes until the edge ends the connection.

        The client's side stays open: a client that ends its side has gone, for nginx.
        """
        with socket.create_connection(("127.0.0.1", self.port), SAFETY_NET) as connection:
            connection.sendall(octets)
            got = b""
            while part := connection.recv(65_536):
                got += part
                head, _, body = got.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                if not to_the_end and length and len(body) == int(length[1]):
                    break
            return got

    def lines(self, number: int) -> list[dict[str, Any]]:
        """Wait until its access log has so many lines; the last ones. It writes them after the answers."""
        log = self.directory / "log" / "sealmint.log"
        assert wait_until(lambda: len(log.read_bytes().splitlines()) >= number)
        return [json.loads(line) for line in log.read_bytes().splitlines()]

    def said(self) -> str:
        """Everything that is in its logs."""
        return "".join(path.read_text() for path in sorted((self.directory / "log").iterdir()))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def replace_in(path: Path, changes: Mapping[str, str]) -> None:
    """Change a configuration file; what is to be changed must be there."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, (path, old)
        text = text.replace(old, new)
    path.write_text(text)


def write_configuration(
    directory: Path, port: int, ocsp: str, web: str, *, ocsp_rate: str = MANY, web_rate: str = MANY
) -> Path:
    """Write the shipped configuration for a port and two origins; return its main file.

    Args:
        directory: the prefix.
        port: where to listen.
        ocsp: HOST:PORT of the OCSP listener.
        web: HOST:PORT of the web front.
        ocsp_rate: OCSP requests of one client.
        web_rate: its other requests.
    """
    shutil.copytree(SHIPPED, directory / "configuration")
    (directory / "log").mkdir()
    logs = {"/var/log/nginx/": "log/", "buffer=64k flush=1s": ""}
    replace_in(
        directory / "configuration" / "sealmint" / "host.conf",
        {
            "127.0.0.1:2560": ocsp,
            "127.0.0.1:8080": web,
            "/var/lib/nginx/sealmint-": "cache-",
            "rate=200r/s": f"rate={ocsp_rate}",
            "rate=20r/s": f"rate={web_rate}",
        },
    )
    replace_in(directory / "configuration" / "site.conf", {"listen 80": f"listen 127.0.0.1:{port}", **logs})
    main = directory / "configuration" / "nginx.conf"
    replace_in(
        main, {"error_log stderr": "error_log log/error.log", "worker_processes auto": "worker_processes 2"}
    )
    return main


def nginx_command(directory: Path, main: Path, *arguments: str) -> list[str]:
    """The command for a prefix and a main file; started by root, the workers stay root, for the directories are his."""
    user = "user root; " if os.geteuid() == 0 else ""
    return [NGINX, "-p", str(directory), "-c", str(main), "-g", f"{user}daemon off;", *arguments]


@contextmanager
def running_edge(directory: Path, ocsp: str, web: str, **rates: str) -> Iterator[Edge]:
    """Run an edge until the block ends; the arguments as for `write_configuration`."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    main = write_configuration(directory, port, ocsp, web, **rates)
    with running_nginx(directory, main, port) as pid:
        yield Edge(directory, port, pid)


@contextmanager
def running_nginx(directory: Path, main: Path, port: int) -> Iterator[int]:
    """Run nginx until the block ends, and wait until it accepts on a port; its process number."""
    with (
        (directory / "said").open("wb") as said,
        subprocess.Popen(nginx_command(directory, main), stdout=said, stderr=said) as process,
    ):
        try:
            bound = time.monotonic() + SAFETY_NET
            while not _accepts(port):
                assert process.poll() is None, (directory / "said").read_text()
                assert time.monotonic() < bound, "nginx does not listen"
                time.sleep(0.005)
            yield process.pid
        finally:
            process.terminate()  # the workers end with the master
            process.wait(SAFETY_NET)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
