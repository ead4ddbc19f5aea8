"""How a request is bent: its target, its header section, its method, version and body."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.fuzz.raw_requests import Header, Request

# ---- the target ----

_CLIMBING = (
    b"..",
    b"%2e%2e",
    b"..%2f..",
    b"%2e%2e%5c",
    b"..\\",
    b"..;",
    b"%252e%252e%252f",
    b"%c0%ae%c0%ae",
    b".",
    b"",
)
_AIMS = (
    b"/sealmint.toml",
    b"/secrets/feed-key.pem",
    b"/repository/certificates.sqlite",
    b"/etc/passwd",
    b"/proc/self/environ",
    b"/status-store/data.mdb",
)
_ODD = (
    b"%00",
    b"%0d%0aX-Added:%20yes",
    b"%",
    b"%zz",
    b"%ff%fe",
    b"%ed%a0%80",
    b"%F0%9F%92%A5",
    b"%E2%80%AE",
    b"'%20OR%201=1--",
    b"%22*%22",
    b"{{7*7}}",
    b"%3Cscript%3E",
    b"%EF%BC%91%EF%BC%92",
    b"%D9%A1%D9%A2%D9%A3",
    b"9" * 5_000,
    b"-1",
    b"1e9",
    b"\xe7\xb5\xb1\xe4\xb8\x80",
    b"*",
    b"?",
    b"#",
    b";",
    b"/" * 50,
)


def _climb(choice: random.Random, request: Request) -> Request:
    steps = b"/".join(choice.choice(_CLIMBING) for _ in range(choice.randrange(1, 9)))
    base = request.target.partition(b"?")[0].rsplit(b"/", choice.randrange(1, 3))[0]
    return replace(request, target=base + b"/" + steps + choice.choice(_AIMS))


def _put_in(choice: random.Random, request: Request) -> Request:
    place = choice.randrange(len(request.target) + 1)
    odd = choice.choice(_ODD)
    return replace(request, target=request.target[:place] + odd + request.target[place:])


def _end_with(choice: random.Random, request: Request) -> Request:
    """Put something odd in the place of the last part of the path, or of the last value of the query."""
    cut = max(request.target.rfind(one) for one in (b"/", b"=")) + 1
    return replace(request, target=request.target[:cut] + choice.choice(_ODD))


def _encode(choice: random.Random, request: Request) -> Request:
    share = choice.choice((0.05, 0.5, 1.0))
    octets = (b"%%%02x" % one if choice.random() < share else bytes((one,)) for one in request.target[1:])
    return replace(request, target=b"/" + b"".join(octets))


def _query(choice: random.Random, request: Request) -> Request:
    path, _, query = request.target.partition(b"?")
    parts = query.split(b"&") if query else []
    names = (b"q", b"name", b"number", b"serial", b"after", b"limit", b"offset", b"wait", b"kind", b"\xff")
    for _ in range(choice.choice((1, 2, 3, 400))):
        value = choice.choice(_ODD)[:40] if choice.random() < 0.7 else choice.randbytes(4).hex().encode()
        parts.append(choice.choice(names) + choice.choice((b"=", b"", b"[]=")) + value)
    choice.shuffle(parts)
    return replace(request, target=path + b"?" + choice.choice((b"&", b";", b"&&")).join(parts))


def _huge(choice: random.Random, request: Request) -> Request:
    filling = choice.choice((b"a", b"/", b"%41", b"&a=b", b"%E7%B5%B1", b"?"))
    return replace(request, target=request.target + b"?q=" + filling * choice.choice((700, 3_000, 20_000)))


def _form(choice: random.Random, request: Request) -> Request:
    """Absolute form, authority form, asterisk form and what looks like them (RFC 9112 section 3.2)."""
    before = choice.choice(
        (b"http://ca.example", b"HTTP://[::1", b"//other.example", b"file://", b"ca.example")
    )
    return replace(
        request, target=choice.choice((before + request.target, b"*", b"ca.example:80", b"", b"/"))
    )


# ---- the header section ----

_FIELDS: tuple[Header, ...] = (
    (b"Content-Length", b"0"),
    (b"Content-Length", b"5"),
    (b"Content-Length", b"-1"),
    (b"Content-Length", b"99999999999999999999"),
    (b"Content-Length", b"0, 5"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Transfer-Encoding", b"gzip, chunked"),
    (b"Transfer-Encoding", b"identity"),
    (b"Transfer-Encoding", b"\x0bchunked"),
    (b"Host", b"other.example"),
    (b"Host", b""),
    (b"Host", b"\xff\x00"),
    (b"Host", b"a" * 300 + b":99999999"),
    (b"Expect", b"100-continue"),
    (b"Expect", b"200-ok"),
    (b"Connection", b"close"),
    (b"Connection", b"keep-alive, upgrade"),
    (b"Upgrade", b"h2c"),
    (b"Upgrade", b"websocket"),
    (b"If-None-Match", b"*"),
    (b"If-None-Match", b'"a", W/"b", "\xe9'),
    (b"If-None-Match", b",".join([b'"x"'] * 900)),
    (b"If-Modified-Since", b"Thu, 32 Foo 99999 25:61:61 GMT"),
    (b"If-Modified-Since", b"Fri, 31 Dec 9999 23:59:59 -9999"),
    (b"If-Modified-Since", b"Mon, 01 Jan 0001 00:00:00 +2359"),
    (b"If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"If-Match", b"*"),
    (b"If-Range", b'"x"'),
    (b"Range", b"bytes=0-0,5-,-1,99999999999999999999-"),
    (b"Range", b"bytes=a-b"),
    (b"Accept", b"*/*;q=nan, text/html;q=1e999"),
    (b"Accept-Language", b"en;q=2, zh;q=-1, ;;;"),
    (b"Accept-Language", b"en-" + b"x-" * 500 + b";q=0.5"),
    (b"Accept-Encoding", b"gzip, br"),
    (b"Content-Type", b"multipart/form-data"),
    (b"Content-Type", b"multipart/form-data; boundary=\xff"),
    (b"Content-Type", b"application/json; charset=utf-99"),
    (b"Content-Type", b"application/x-www-form-urlencoded"),
    (b"Content-Encoding", b"gzip"),
    (b"Cookie", b'session=eyJh; a="\\777"; ' + b"b=c; " * 300),
    (b"Authorization", b"Basic \xff\xfe"),
    (b"Authorization", b"Digest a=b, c"),
    (b"X-Forwarded-For", b"203.0.113.9, unknown"),
    (b"X-HTTP-Method-Override", b"DELETE"),
    (b"HTTP2-Settings", b"AAMAAABkAARAAAAAAAIAAAAA"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Trailer", b"Host"),
    (b"X" * 9_000, b"x"),
    (b"X", b"x" * 3_000),
    (b"X", b"x" * 100_000),
    (b"X\0Y", b"\0"),
    (b"X Y", b"z"),
    (b"", b"nameless"),
    (b"X", b"folded\r\n  over lines"),
    (b"X", b"\xe7\xb5\xb1"),
)

_UPGRADES: tuple[tuple[Header, ...], ...] = (
    (
        (b"Connection", b"Upgrade, HTTP2-Settings"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAMAAABkAARAAAAAAAIAAAAA"),
    ),
    ((b"Connection", b"Upgrade"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"!")),
    (
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ),
    ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")),
    ((b"Content-Length", b"6"), (b"Transfer-Encoding", b"chunked")),
)


def _field(choice: random.Random, request: Request) -> Request:
    fields = list(request.headers)
    for _ in range(choice.choice((1, 1, 2, 4))):
        fields.insert(choice.randrange(len(fields) + 1), choice.choice(_FIELDS))
    return replace(request, headers=tuple(fields))


def _upgrade(choice: random.Random, request: Request) -> Request:
    return replace(request, headers=request.headers + choice.choice(_UPGRADES))


def _many_fields(choice: random.Random, request: Request) -> Request:
    return replace(request, headers=request.headers + ((b"X-A", b"b"),) * choice.choice((50, 150, 2_000)))


# ---- the rest ----

_METHODS = (
    *(b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"PROPFIND"),
    *(b"", b"G\0T", b"G" * 3_000, b"PRI", b"M-SEARCH", b"\xc7ET"),
)
_VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"HTTP/9.9",
    b"http/1.1",
    b"HTTP/1.1 ",
    b"",
    b"RTSP/1.0",
)
_BODIES = (
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n",
    b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"-1\r\n\r\n",
)


def _method(choice: random.Random, request: Request) -> Request:
    return replace(request, method=choice.choice(_METHODS))


def _version(choice: random.Random, request: Request) -> Request:
    return replace(request, version=choice.choice(_VERSIONS))


def _body(choice: random.Random, request: Request) -> Request:
    length = choice.choice((1, 40, 2_000, 20_000, 200_000))
    body = choice.choice((choice.randbytes(length), b"0" * length, choice.choice(_BODIES), b""))
    return replace(request, body=body, method=choice.choice((b"POST", request.method)))


def _chunks(choice: random.Random, request: Request) -> Request:
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(request.body), request.body)
    body = chunked if request.body else choice.choice(_BODIES)
    fields = (*request.headers, (b"Transfer-Encoding", b"chunked"))
    return replace(request, headers=fields, body=body, says_length=choice.random() < 0.2)


Bending = Callable[[random.Random, Request], Request]
BENDINGS: tuple[Bending, ...] = (
    _climb,
    _put_in,
    _put_in,
    _end_with,
    _end_with,
    _encode,
    _query,
    _query,
    _huge,
    _form,
    _field,
    _field,
    _upgrade,
    _many_fields,
    _method,
    _version,
    _body,
    _chunks,
)
