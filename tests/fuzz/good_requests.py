"""Good requests to each front."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from urllib.parse import quote

from engine.feed.piece import PieceKind
from tests.fuzz.raw_requests import Request
from tests.fuzz.served_hosts import SPOOL, TwoHosts
from tests.responders.ocsp_requests import certificate_id, nonce, plain, single
from tests.responders.ocsp_requests import request as ocsp_request

Good = Callable[[random.Random], Request]

_HISTORIC = b"/cgi-bin/OCSP2/ocsp_server.exe/"
_OCSP_TYPE = ((b"Content-Type", b"application/ocsp-request"),)
_PAGES = (
    "certificates",
    "status",
    "crls",
    "authorities",
    "documents",
    "news",
    "notices",
    "publications/1",
    "ocsp",
    "service",
    "nothing",
)
_LISTINGS = [
    *("crls", "authorities", "documents", "news", "notices", "service"),
    *("publications/1", "publications/1/content"),
    *(
        f"authorities/{name}"
        for name in ("ca.cer", "ca.pem", "root.cer", "root.pem", "chain.p7b", "chain.pem")
    ),
]
_PLACES = (
    "/",
    "/repository",
    "/repository/",
    "/zh",
    "/en",
    "/healthz",
    "/readyz",
    "/site/site.css",
    "/site/icon.svg",
)


def at_web_front(hosts: TwoHosts) -> Good:
    """Pages, files, OCSP: everything that the web front of the public host serves beside its API."""
    crls, known = hosts.served_paths, hosts.known
    names = ("ca.cer", "root.cer", "chain.pem", "IssuedToThisCA.p7b", "")
    documents = [f"/repository/Certs/{name}" for name in names]
    ocsp = at_listener(hosts)

    def good(choice: random.Random) -> Request:
        kind = choice.random()
        if kind < 0.15:
            return ocsp(choice)
        if kind < 0.35:
            return _get(choice.choice([*_PLACES, *crls, *documents]), *_languages(choice))
        language, one = choice.choice(("/zh", "/en")), known.any_of_them(choice)
        if kind < 0.6:
            return _get(f"{language}/{choice.choice(_PAGES)}")
        texts = (one.name, one.number or "", one.serial.hex(), one.name[:2], one.name[:1])
        page = choice.choice(
            (
                f"/certificates?q={quote(choice.choice(texts))}&after={choice.choice(('', 0, 7))}",
                f"/certificates/{one.serial.hex().upper()}",
                f"/status?serial={one.serial.hex(':')}",
            )
        )
        return _get(language + page)

    return good


def at_api(hosts: TwoHosts) -> Good:
    """The JSON of the site."""
    known = hosts.known

    def good(choice: random.Random) -> Request:
        one = known.any_of_them(choice)
        serial, name = one.serial.hex(), quote(one.name)
        path = choice.choice(
            (
                f"certificates?name={name}&limit={choice.choice((1, 20, 100))}",
                f"certificates?name={quote(one.name[: choice.choice((1, 2))])}&limit=100",
                f"certificates?number={one.number}",
                f"certificates?serial={serial}",
                f"certificates/{serial}{choice.choice(('', '.cer', '.pem'))}",
                f"status/{serial}",
                choice.choice(_LISTINGS),
                "openapi.json",
            )
        )
        return _get(f"/api/v1/{path}")

    return good


def at_listener(hosts: TwoHosts, *, metered: bool = False) -> Good:
    """OCSP by GET and POST, of one certificate or several; metered, most of it with an account's token."""
    issuer, known = hosts.issuer, hosts.known

    def good(choice: random.Random) -> Request:
        serials = [known.any_of_them(choice).serial for _ in range(choice.choice((1, 1, 3)))]
        names = choice.choice(("sha1", "sha256"))
        asked = ocsp_request(
            *(single(certificate_id(issuer, serial, names)) for serial in serials),
            extensions=[nonce(choice.randbytes(16))] if choice.random() < 0.1 else None,
        )
        token = choice.choice((hosts.token, hosts.token, "0" * 32))
        before = f"/t/{token}/".encode() if metered else choice.choice((b"/", b"/", _HISTORIC))
        if choice.random() < 0.5:
            return Request(before, b"POST", _OCSP_TYPE, asked)
        asked = plain(serials[0], issuer)
        return Request(before + quote(base64.b64encode(asked), safe="").encode())

    return good


def at_feed(hosts: TwoHosts) -> Good:
    """Questions to the feed, of every kind, that need not wait."""
    with_digest = {PieceKind.CRL, PieceKind.PUBLICATION}

    def good(choice: random.Random) -> Request:
        kind = choice.choice(list(PieceKind))
        query = f"challenge={choice.randbytes(16).hex()}&after={choice.choice((0, 0, 1, 60, 10**6))}"
        if kind in with_digest:
            query += f"&digest={choice.randbytes(32).hex()}"
        return _get(f"/feed/v1/{kind.value}?{query}")

    return good


def at_usage(hosts: TwoHosts) -> Good:
    """The spool of the public host."""

    def good(choice: random.Random) -> Request:
        name = choice.choice((SPOOL, f"2026-06.{'ab' * 8}.jsonl"))
        return _get(
            choice.choice(
                ("/usage/v1/spool", f"/usage/v1/spool/{name}?offset={choice.choice((0, 9, 10**9))}")
            )
        )

    return good


def _get(target: str, *headers: tuple[bytes, bytes]) -> Request:
    return Request(target.encode(), headers=headers)


def _languages(choice: random.Random) -> tuple[tuple[bytes, bytes], ...]:
    return choice.choice(((), ((b"Accept-Language", b"en"),), ((b"Accept-Language", b"zh-TW, en;q=0.5"),)))
