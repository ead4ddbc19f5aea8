"""Large bodies: what nginx writes to a file is no part of its key, and must never meet a copy."""

from __future__ import annotations

import re

import pytest

from tests.edge.running_edge import SHIPPED, Edge, free_port, replace_in, running_nginx, write_configuration
from tests.edge.stand_in_origin import Origin
from tests.responders.listener_client import chunked

pytestmark = pytest.mark.judge("nginx")

MOST = 16_384


def body_of(raw: bytes) -> bytes:
    """The body of the one response that came."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


@pytest.mark.parametrize("octets", [1_000, 4_096, 8_192, 12_000, MOST])
def test_two_large_bodies_get_their_own_answers(edge: Edge, origin: Origin, octets: int) -> None:
    one, other = (b"0" + letter * (octets - 1) for letter in (b"a", b"b"))
    for cache in ("fwd=uri-miss", "hit"):
        for body in (one, other):
            answer = edge.post(body)
            assert answer.body == b"POST / " + body
            assert answer.cache == cache
    assert len(origin.asked) == 2


def test_bodies_that_differ_in_their_last_octet(edge: Edge, origin: Origin) -> None:
    start = b"0" * (MOST - 1)
    assert [edge.post(start + last).body[-1:] for last in (b"x", b"y", b"x")] == [b"x", b"y", b"x"]


@pytest.mark.parametrize("octets", [MOST + 1, 100_000])
def test_a_body_over_the_limit_is_refused(edge: Edge, origin: Origin, octets: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % octets
    said = edge.raw(head)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"Cache-Control: no-store\r\n" in said
    assert not origin.asked


def test_a_chunked_body_has_the_key_of_the_same_body_with_a_length(edge: Edge, origin: Origin) -> None:
    body = b"0chunked"
    assert body_of(edge.raw(chunked(b"0chu", b"nked"))) == b"POST / " + body
    assert edge.post(body).cache == "hit"
    assert [asked.body for asked in origin.asked] == [body]


@pytest.mark.parametrize("size", [1, 2, 7, 4_096])
def test_chunked_bodies_get_their_own_answers(edge: Edge, origin: Origin, size: int) -> None:
    """In chunks of one octet a body within the limit is six times that on the wire: it does not fit the buffer."""
    for letter in (b"c", b"d", b"c", b"d"):
        body = b"0%d" % size + letter * 10_000
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        assert body_of(edge.raw(chunked(*chunks))) == b"POST / " + body


def test_what_was_written_to_a_file_is_no_copy(edge: Edge, origin: Origin) -> None:
    spilled = [bytes((octet,)) for octet in b"0file" + b"e" * 15_000]
    for _ in range(2):
        said = edge.raw(chunked(*spilled))
        assert b"\r\nCache-Status: sealmint-edge; fwd=bypass\r\n" in said
    assert len(origin.asked) == 2
    assert edge.post(b"").body == b"POST / "  # the key that a spilled body would have


def test_a_chunked_body_over_the_limit_is_refused(edge: Edge, origin: Origin) -> None:
    assert edge.raw(chunked(*[b"z" * 4_096] * 5)).startswith(b"HTTP/1.1 413 ")
    assert not origin.asked


def test_the_limit_is_not_above_the_buffer() -> None:
    text = (SHIPPED / "sealmint" / "server.conf").read_text()
    limit, buffer = (
        int(re.findall(rf"^{name} (\d+)k;$", text, re.MULTILINE)[0])
        for name in ("client_max_body_size", "client_body_buffer_size")
    )
    assert limit * 1024 == MOST <= buffer * 1024


def test_the_trap_is_there_without_the_two_locks(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the tests above would see: with the limit above the buffer, and spilled bodies let to the cache."""
    directory, port = tmp_path_factory.mktemp("trap"), free_port()
    main = write_configuration(directory, port, origin.place, origin.place)
    replace_in(
        main.parent / "sealmint" / "server.conf",
        {"client_body_buffer_size 16k": "client_body_buffer_size 4k"},
    )
    locks = {f"{name} $request_body_file;": "" for name in ("proxy_cache_bypass", "proxy_no_cache")}
    replace_in(main.parent / "sealmint" / "proxy.conf", locks)
    with running_nginx(directory, main, port) as pid:
        edge = Edge(directory, port, pid)
        one, other = (edge.post(b"0" + letter * 12_000) for letter in (b"f", b"g"))
    assert one.body == other.body
    assert len(origin.asked) == 1
