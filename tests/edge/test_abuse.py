"""Limits of one client, methods, and requests that two servers might read differently."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.running_edge import Edge, running_edge
from tests.edge.stand_in_origin import Origin
from tests.edge.test_cache import BASE64, PATH

pytestmark = pytest.mark.judge("nginx")

SLOW = "1r/m"
"""A rate that gives nothing back while a test runs: what goes through is the burst, and one."""

OCSP_BURST, WEB_BURST = 400, 100


@pytest.fixture(scope="module")
def limited(running: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    place = running.place
    with running_edge(
        tmp_path_factory.mktemp("limited"), place, place, ocsp_rate=SLOW, web_rate=SLOW
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "target", "burst"),
    [
        ("GET", f"{PATH}/{BASE64}", OCSP_BURST),
        ("GET", f"/{BASE64}", OCSP_BURST),
        ("POST", "/", OCSP_BURST),
        ("POST", PATH, OCSP_BURST),
        ("POST", "/t/token/", OCSP_BURST),
        ("GET", "/zh/", WEB_BURST),
        ("GET", "/", WEB_BURST),
        ("GET", "/repository/MOEACA/CRL2/complete.crl", WEB_BURST),
    ],
)
def test_beyond_its_rate_a_client_gets_429_and_another_does_not(
    limited: Edge, origin: Origin, method: str, target: str, burst: int
) -> None:
    """Copies count as well. Each case is a client of its own, for the zones are shared."""
    client = f"127.0.{1 + burst // 100}.{1 + hash_of(method + target)}"
    body = b"0limit" if method == "POST" else None
    statuses = [limited.ask(method, target, body, source=client).status for _ in range(burst + 2)]
    assert statuses == [200] * (burst + 1) + [429]
    refused = limited.ask(method, target, body, source=client)
    assert (refused.headers["retry-after"], refused.headers["cache-control"]) == ("1", "no-store")
    assert limited.ask(method, target, body, source="127.0.9.9").status == 200


def hash_of(text: str) -> int:
    """The last part of an address for a case; the same in every run."""
    return sum(text.encode()) % 250


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_other_methods_are_refused(edge: Edge, origin: Origin, method: str) -> None:
    for target in ("/", PATH, "/t/token/", "/zh/"):
        answer = edge.ask(method, target, b"0")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"
    assert not origin.asked


def post_with(fields: bytes, body: bytes = b"0abc") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + body


@pytest.mark.parametrize(
    "request_octets",
    [
        post_with(b"Content-Length: 4\r\nContent-Length: 4\r\n"),
        post_with(b"Content-Length: 4\r\nContent-Length: 5\r\n"),
        post_with(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        post_with(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
        post_with(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        post_with(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        post_with(b"Transfer-Encoding: chunked\r\n", b"4;\r\n0abc\r\nzz\r\n"),
        post_with(b"Content-Length: +4\r\n"),
        post_with(b"Content-Length: 4, 4\r\n"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
    ],
)
def test_what_two_servers_might_read_differently_is_refused(
    edge: Edge, origin: Origin, request_octets: bytes
) -> None:
    said = edge.raw(request_octets + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", to_the_end=True)
    assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501")
    assert said.count(b"HTTP/1.1 ") == 1
    assert not origin.asked


def test_nothing_of_a_clients_fields_reaches_the_listener(edge: Edge, origin: Origin) -> None:
    edge.post(
        b"0fields", X_Forwarded_For="10.0.0.1", Expect="nothing", Content_Type="text/html", Cookie="a=b"
    )
    (asked,) = origin.asked
    assert asked.headers == {
        "host": "moeaca.nat.gov.tw",
        "content-type": "application/ocsp-request",
        "content-length": "7",
    }


def test_a_client_cannot_say_for_whom_it_asks(edge: Edge, origin: Origin) -> None:
    edge.get("/zh/forwarded", X_Forwarded_For="10.0.0.1", Accept_Language="zh")
    (asked,) = origin.asked
    assert "x-forwarded-for" not in asked.headers
    assert asked.headers["accept-language"] == "zh"


@pytest.mark.parametrize(("octets", "status"), [(8_100, 200), (8_200, 414)])
def test_a_request_line_may_have_8_kib(edge: Edge, origin: Origin, octets: int, status: int) -> None:
    target = f"{PATH}/M" + "A" * (octets - len(PATH) - 15)
    assert edge.get(target).status == status
    assert len(origin.asked) == (status == 200)


def test_too_many_fields_are_refused(edge: Edge, origin: Origin) -> None:
    assert edge.get(f"{PATH}/{BASE64}", **{f"X_{number}": "v" * 4_000 for number in range(10)}).status == 400
    assert not origin.asked
