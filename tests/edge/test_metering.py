"""What is counted: metered paths reach the responder each time, and the log names who asked, but no token."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest

from tests.cli.prepared_home import SAFETY_NET
from tests.edge.running_edge import (
    SHIPPED,
    Edge,
    free_port,
    replace_in,
    running_edge,
    running_nginx,
    write_configuration,
)
from tests.edge.stand_in_origin import Origin, running_origin
from tests.edge.test_cache import BASE64, PATH

pytestmark = pytest.mark.judge("nginx")

TOKEN = "k3yOfOneRelyingParty"
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
"""Where Debian's libnginx-mod-stream puts it."""


@pytest.mark.parametrize("start", ["/t", "//t", "/%74", "/x/../t"])
def test_a_path_with_a_token_is_passed_through_each_time(edge: Edge, origin: Origin, start: str) -> None:
    """Though the answer could be kept: and in whatever spelling nginx takes for this path."""
    for target in (f"{start}/{TOKEN}{PATH}/{BASE64}", f"{start}/{TOKEN}/{BASE64}"):
        for _ in range(2):
            answer = edge.get(target)
            assert (answer.body, answer.cache) == (f"GET {target} ".encode(), "")
        assert origin.times(target) == 2
    for _ in range(2):
        assert edge.post(b"0paid", f"{start}/{TOKEN}{PATH}").cache == ""
    assert len(origin.asked) == 6


def test_a_copy_for_everybody_is_none_for_a_path_with_a_token(edge: Edge, origin: Origin) -> None:
    body = b"0both"
    for cache in ("fwd=uri-miss", "hit"):
        assert edge.post(body, PATH).cache == cache
        assert edge.post(body, f"/t/{TOKEN}{PATH}").body == f"POST /t/{TOKEN}{PATH} ".encode() + body


def test_no_log_names_a_token(tmp_path: Path) -> None:
    """Not with an origin that is away, a body that is too large, or a rate that is exceeded."""
    with running_origin() as origin:
        place = origin.place
        with running_edge(tmp_path / "edge", place, place, ocsp_rate="1r/m") as edge:
            for target in (
                f"/t/{TOKEN}{PATH}",
                f"//t/{TOKEN}/{BASE64}?x",
                f"/%74/{TOKEN}/",
                f"/x/../t/{TOKEN}/",
            ):
                assert edge.post(b"0paid", target).status == 200
            assert edge.post(b"0" * 20_000, f"/t/{TOKEN}/").status == 413
            while edge.post(b"0paid", f"/t/{TOKEN}/").status == 200:
                pass
            origin.stop()
            assert edge.ask("POST", f"/t/{TOKEN}/", b"0", source="127.0.0.2").status == 502
            lines = edge.lines(len(origin.asked) + 3)
            assert [line["asked"] for line in lines[:4]] == ["metered"] * 4
            said = edge.said()
    assert TOKEN not in said


def test_the_log_tells_who_was_answered_what(edge: Edge, origin: Origin) -> None:
    before = len((edge.directory / "log" / "sealmint.log").read_bytes().splitlines())
    for _ in range(2):
        edge.ask("POST", PATH, b"0count", source="127.0.0.7")
    edge.ask("GET", '/zh/"\\%22', source="127.0.0.8")
    edge.ask("DELETE", "/zh/", source="127.0.0.8")
    *_, first, second, third, fourth = edge.lines(before + 4)
    assert first["client"] == second["client"] == "127.0.0.7"
    assert [line["cache"] for line in (first, second, third, fourth)] == ["MISS", "HIT", "MISS", ""]
    assert [line["asked"] for line in (first, second, third)] == ["ocsp", "ocsp", '/zh/"\\"']
    assert first["type"] == second["type"] == "application/ocsp-response"
    assert first["octets"] == len(f"POST {PATH} 0count")
    assert (fourth["client"], fourth["status"]) == ("127.0.0.8", 405)


class Heard:
    """A listener that takes one connection and notes from where it came and what it began with."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.place = "{}:{}".format(*self._socket.getsockname())
        self.peer = ""
        self.began = b""
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self._socket, self._socket.accept()[0] as connection:
            self.peer = connection.getpeername()[0]
            while not self.began.endswith(b"question"):
                self.began += connection.recv(1_024)
            connection.sendall(b"answer")

    def wait(self) -> None:
        self._thread.join(SAFETY_NET)


def test_clients_metered_by_address_are_named_by_a_proxy_header(tmp_path: Path) -> None:
    """The header comes from an address of its own, so that the listener knows which connections begin with one."""
    heard, port, metered = Heard(), free_port(), free_port()
    main = write_configuration(tmp_path, port, "127.0.0.1:1", "127.0.0.1:1")
    replace_in(
        main.parent / "stream.conf",
        {
            "listen 2561": f"listen 127.0.0.1:{metered}",
            "127.0.0.1:2560": heard.place,
            "/var/log/nginx/": "log/",
        },
    )
    text = main.read_text()
    main.write_text(f"load_module {STREAM_MODULE};\n{text}\ninclude stream.conf;\n")
    with (
        running_nginx(tmp_path, main, port),
        socket.create_connection(("127.0.0.1", metered), SAFETY_NET, ("127.0.0.33", 0)) as client,
    ):
        client.sendall(b"question")
        assert client.recv(100) == b"answer"
        source = client.getsockname()[1]
    heard.wait()
    assert heard.peer == "127.0.0.2"
    assert heard.began == f"PROXY TCP4 127.0.0.33 127.0.0.1 {source} {metered}\r\nquestion".encode()


def test_no_upstream_of_http_comes_from_the_address_of_the_proxy_header() -> None:
    (bound,) = re.findall(r"proxy_bind (\S+);", (SHIPPED / "stream.conf").read_text())
    assert bound == "127.0.0.2"
    for path in (SHIPPED / "sealmint").iterdir():
        assert "proxy_bind" not in path.read_text()
