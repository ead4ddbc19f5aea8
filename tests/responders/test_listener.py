"""The fast listener speaks HTTP/1.1: framing, order, persistence, and what it refuses."""

from __future__ import annotations

import base64

import pytest
import trio

from engine.x509 import der
from responders.connection import ANSWERS_IN_ONE_SEND
from responders.request_reader import BODY_OCTETS, HEADER_OCTETS
from tests.responders.listener_client import chunked, get, post, running
from tests.responders.stand_ins import LIVE, PATH, ScriptedResponder, http_over

REQUEST = der.sequence(b"a request")
IN_URL = base64.b64encode(REQUEST)
ANSWER = b"answer to " + REQUEST


async def test_get_and_post_are_answered_on_one_connection() -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        by_get = await client.ask(get(b"/" + IN_URL))
        by_post = await client.ask(post(REQUEST, target=PATH))
        assert by_get == by_post
        assert (by_get.status, by_get.body) == (200, ANSWER)
        assert "connection" not in by_get.headers
        absolute = await client.ask(get(b"http://ocsp.example" + PATH + b"/" + IN_URL))
        assert absolute.body == ANSWER
        known = await client.ask(get(b"/" + IN_URL, b"If-None-Match: " + by_get.headers["etag"].encode()))
        assert known.status == 304
        several = (b'if-none-match: "other"', b"IF-NONE-MATCH: " + by_get.headers["etag"].encode())
        assert (await client.ask(get(b"/" + IN_URL, *several))).status == 304


@pytest.mark.parametrize("piece", [1, 2, 3, 50])
async def test_requests_may_come_in_pieces(piece: int) -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        for octets in (get(b"/" + IN_URL, b"Accept: */*"), post(REQUEST), chunked(REQUEST[:3], REQUEST[3:])):
            for place in range(0, len(octets), piece):
                await client.send(octets[place : place + piece])
                await trio.testing.wait_all_tasks_blocked()
            assert (await client.answer()).body == ANSWER


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    count = 5 * ANSWERS_IN_ONE_SEND + 3
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        bodies = [b"%d" % number for number in range(count)]
        await client.send(b"\r\n".join(post(body) for body in bodies) + post(b"last", b"Connection: close"))
        for body in bodies:
            assert (await client.answer()).body == b"answer to " + body
        last = await client.answer()
        assert (last.body, last.headers["connection"]) == (b"answer to last", "close")
        assert await client.is_closed()


async def test_a_live_answer_keeps_the_order_and_holds_nobody_up() -> None:
    responder = ScriptedResponder()
    async with running(http_over(responder)) as listener:
        client = await listener.connect()
        await client.send(post(b"first") + post(LIVE) + post(b"third"))
        assert (await client.answer()).body == b"answer to first"
        await responder.waiting.wait()
        assert (await listener.ask(post(b"of another"))).body == b"answer to of another"
        assert responder.asked == [b"first", b"of another"]
        responder.let_go.set()
        assert (await client.answer()).body == b"live answer to " + LIVE
        assert (await client.answer()).body == b"answer to third"


async def test_a_client_that_ends_its_side_is_still_answered() -> None:
    responder = ScriptedResponder()
    async with running(http_over(responder)) as listener:
        client = await listener.connect()
        await client.send(post(b"at once") + post(LIVE))
        await client.stream.send_eof()
        responder.let_go.set()
        assert (await client.answer()).body == b"answer to at once"
        assert (await client.answer()).body == b"live answer to " + LIVE
        assert await client.is_closed()


async def test_a_client_that_goes_in_the_middle_leaves_nothing() -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        for octets in (b"", b"GET /", get(b"/" + IN_URL)[:-2], post(REQUEST)[:-1], post(REQUEST)):
            client = await listener.connect()
            await client.send(octets)
            await client.stream.aclose()
        assert (await listener.ask(post(REQUEST))).body == ANSWER
        while listener.listener.connections:
            await trio.testing.wait_all_tasks_blocked(0.001)


async def test_chunks_are_put_together_and_trailers_not_heard() -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        assert (await client.ask(chunked(*(REQUEST[i : i + 1] for i in range(len(REQUEST)))))).body == ANSWER
        trailer = b"0\r\nIf-None-Match: *\r\nHost: other\r\n\r\n"
        assert (await client.ask(chunked(REQUEST).removesuffix(b"0\r\n\r\n") + trailer)).status == 200


async def test_whoever_asks_is_told_to_go_on() -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        head, body = post(REQUEST, b"Expect: 100-Continue").split(b"\r\n\r\n")
        assert (await client.ask(head + b"\r\n\r\n")).status == 100
        assert (await client.ask(body)).body == ANSWER
        whole = await client.ask(post(REQUEST, b"Expect: 100-continue"))
        assert whole.body == ANSWER  # what had come need not be asked for


@pytest.mark.parametrize(
    ("first_line", "field", "stays"),
    [
        (b"HTTP/1.1", b"", True),
        (b"HTTP/1.1", b"Connection: close", False),
        (b"HTTP/1.1", b"connection: CLOSE", False),
        (b"HTTP/1.1", b"Connection: keep-alive", True),
        (b"HTTP/1.0", b"", False),
        (b"HTTP/1.0", b"Connection: keep-alive", True),
        (b"HTTP/1.0", b"Connection: Keep-Alive", True),
    ],
)
async def test_connections_stay_or_end_as_http_has_it(first_line: bytes, field: bytes, stays: bool) -> None:
    """RFC 9112 section 9.3; HTTP/1.0 needs no Host."""
    octets = post(REQUEST, *([field] if field else [])).replace(b"HTTP/1.1", first_line)
    if first_line == b"HTTP/1.0":
        octets = octets.replace(b"Host: ocsp.example\r\n", b"")
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        answer = await client.ask(octets)
        assert answer.body == ANSWER
        if stays:
            assert answer.headers.get("connection", "keep-alive") == "keep-alive"
            assert ("connection" in answer.headers) == bool(field)
            assert (await client.ask(octets)).body == ANSWER
        else:
            assert answer.headers["connection"] == "close"
            assert await client.is_closed()


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"PATCH", b"PROPFIND"])
async def test_other_methods_are_refused_and_the_connection_stays(method: bytes) -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        refused = await client.ask(get(b"/").replace(b"GET", method))
        assert (refused.status, refused.headers["allow"], refused.body) == (405, "GET, POST", b"")
        assert (await client.ask(post(REQUEST))).body == ANSWER


async def test_a_wish_for_another_protocol_is_not_heard() -> None:
    """Clients that would rather have HTTP/2 ask so with every request (RFC 9110 section 7.8)."""
    wish = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        assert (await client.ask(get(b"/" + IN_URL, *wish))).body == ANSWER
        assert (await client.ask(post(REQUEST, *wish))).body == ANSWER
        head, body = post(REQUEST, *wish).split(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await client.ask(body)).body == ANSWER
        refused = await listener.ask(b"CONNECT ocsp.example:443 HTTP/1.1\r\nHost: ocsp.example\r\n\r\n")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, POST")


TO = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_CHUNK = b"\r\n0\r\n\r\n"

NOT_HTTP = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "length and chunks": TO + b"Content-Length: 5\r\n" + CHUNKED + NO_CHUNK,
    "chunks and length": TO + CHUNKED + b"Content-Length: 5\r\n" + NO_CHUNK,
    "two lengths": TO + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length with sign": TO + b"Content-Length: +5\r\n\r\nhello",
    "length in hexadecimal": TO + b"Content-Length: 0x5\r\n\r\nhello",
    "length beyond numbers": TO + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "chunked not last": TO + b"Transfer-Encoding: chunked, gzip\r\n" + NO_CHUNK,
    "chunk of no length": TO + CHUNKED + b"\r\nx\r\n",
    "bare carriage return": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "control in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
}


@pytest.mark.parametrize("octets", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_two_servers_might_read_differently_is_refused(octets: bytes) -> None:
    """What came before is answered, nothing that comes after is read."""
    responder = ScriptedResponder()
    async with running(http_over(responder)) as listener:
        client = await listener.connect()
        await client.send(post(b"before") + octets + post(b"smuggled"))
        assert (await client.answer()).body == b"answer to before"
        refused = await client.answer()
        assert (refused.status, refused.headers["connection"]) == (400, "close")
        assert await client.is_closed()
        assert responder.asked == [b"before"]


async def test_huge_headers_and_bodies_are_refused() -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        too_large = (
            (431, get(b"/" + b"A" * (2 * HEADER_OCTETS))),
            (431, get(b"/" + IN_URL, b"Cookie: " + b"a" * (2 * HEADER_OCTETS))),
            (431, get(b"/" + IN_URL, *(b"X: y" for _ in range(HEADER_OCTETS // 2)))),
            (413, post(bytes(BODY_OCTETS + 1))),
            (413, chunked(bytes(BODY_OCTETS), b"x")),
            (413, chunked(*(bytes(1) for _ in range(BODY_OCTETS)))),
            (
                413,
                chunked(bytes(4)).replace(
                    b"4\r\n", b"4;" + b"x" * (HEADER_OCTETS + 3 * BODY_OCTETS) + b"\r\n", 1
                ),
            ),
        )
        for status, octets in too_large:
            client = await listener.connect()
            answer = await client.ask(octets)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert await client.is_closed()
        large = bytes(BODY_OCTETS)
        assert (await listener.ask(post(large))).body == b"answer to " + large
        assert (await listener.ask(chunked(*(bytes(1_024) for _ in range(16))))).body == b"answer to " + large


async def test_a_long_pipeline_is_no_huge_request() -> None:
    """More octets in one go than a request may have, and every one of them answered."""
    count = 3 * (HEADER_OCTETS + BODY_OCTETS) // len(post(REQUEST))
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, post(REQUEST) * count)
            for _ in range(count):
                assert (await client.answer()).body == ANSWER
