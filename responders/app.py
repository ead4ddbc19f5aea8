"""The web application beside the fast listener: OCSP through the same function, CRLs, CA certificates, and health.

Every path is that of a URL which certificates carry, so it comes from the profiles.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import commonpath, dirname
from time import perf_counter
from typing import BinaryIO

import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.routing import BaseConverter

from engine.clock import Clock
from engine.metrics.registry import Metrics
from engine.status.crl_files import PublishedCrl, published, uri_path_of
from engine.x509.profiles import ProfileSet
from responders.authority_documents import Document
from responders.entity_tags import has_current
from responders.http_times import http_date
from responders.not_modified import not_modified
from responders.ocsp_http import HttpAnswer, HttpAnswering
from responders.readiness import Readiness
from responders.request_durations import RequestDurations
from responders.request_reader import BODY_OCTETS
from responders.web_connection import WebConnection
from responders.web_durations import count_requests

DOCUMENT_MAX_AGE = 3_600
"""Seconds. A guess: CA certificates change every few years, and a new one is wanted within the hour."""

PIECE_OCTETS = 65_536
"""Of a CRL, read and sent at a time. A guess: what a socket's buffer takes."""

SLOWEST_OCTETS_PER_SECOND = 16_384
"""Whoever takes a CRL more slowly than this is cut off. A guess: a modem's rate."""

LEAST_SECONDS = 60
"""For a response, however small. A guess, and Quart's own."""

METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"]


class _Anything(BaseConverter):
    """The rest of a path: slashes too, and none of them merged, for base64 has them."""

    regex = ".*"
    part_isolating = False


@dataclass(frozen=True, slots=True)
class Pages:
    """What the application serves.

    Attributes:
        ocsp: answers OCSP requests.
        documents: CA certificates by path.
        crls: the directory of the CRL files.
        crl_paths: what the paths of all CRLs begin with.
        readiness: why this host should not be asked.
        max_age: seconds that a cache may keep a CRL, if its nextUpdate is not nearer.
        clock: tells the time.
        metrics: of the process.
    """

    ocsp: HttpAnswering
    documents: dict[str, Document]
    crls: Path
    crl_paths: tuple[str, ...]
    readiness: Readiness
    max_age: int
    clock: Clock
    metrics: Metrics = field(default_factory=Metrics)


def crl_paths(profiles: ProfileSet) -> tuple[str, ...]:
    """Return the beginnings of the paths of all CRLs: their directories."""
    uris = [profiles.crl_uris(partition) for partition in (1, 9_998)]  # digits that have nothing in common
    directories = [[dirname(uri_path_of(uri)) for uri in column] for column in zip(*uris, strict=True)]
    return tuple(sorted({commonpath(column).rstrip("/") + "/" for column in directories}))


def make_app(pages: Pages) -> QuartTrio:
    """Make the application."""
    app = QuartTrio(__name__, static_folder=None)
    app.asgi_http_class = WebConnection
    app.config["MAX_CONTENT_LENGTH"] = BODY_OCTETS
    app.url_map.merge_slashes = False
    app.url_map.converters["anything"] = _Anything
    everything = {"methods": METHODS, "provide_automatic_options": False}
    durations = RequestDurations(pages.metrics)
    count_requests(app, pages.metrics)

    @app.route("/healthz")
    async def healthz() -> Response:
        return Response(b"alive\n", content_type="text/plain")

    @app.route("/readyz")
    async def readyz() -> Response:
        reasons = pages.readiness.status_store_reasons()
        reasons += await trio.to_thread.run_sync(pages.readiness.crl_reasons)
        text = "".join(f"{reason}\n" for reason in reasons) or "ready\n"
        return Response(text, 503 if reasons else 200, content_type="text/plain; charset=utf-8")

    for path, document in pages.documents.items():
        app.add_url_rule(path, path, _page_of(document, pages.clock))

    async def crl(name: str) -> Response:
        return await _crl_response(pages)

    for path in pages.crl_paths:
        app.add_url_rule(f"{path}<anything:name>", path, crl)

    @app.route("/<anything:target>", **everything)
    async def ocsp(target: str) -> Response:
        body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        began = perf_counter()
        tag = request.headers.get("If-None-Match")
        asked = (
            request.method.encode(),
            request.scope["raw_path"],
            body,
            None if tag is None else tag.encode("latin-1"),
        )
        answer = pages.ocsp.at_once(*asked) or await pages.ocsp.answer(*asked)
        durations.count(asked[0], answer, began)
        return _in_quart(answer)

    @app.after_request
    async def date(response: Response) -> Response:
        response.headers.setdefault("Date", http_date(_now(pages.clock)).decode())
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app


def _page_of(document: Document, clock: Clock) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        kept = _kept(document.etag, document.last_modified, _now(clock) + DOCUMENT_MAX_AGE, DOCUMENT_MAX_AGE)
        if _is_known(document.etag, document.last_modified):
            return not_modified(kept)
        return Response(document.body, 200, kept, content_type=document.media_type)

    return page


async def _crl_response(pages: Pages) -> Response:
    """Send the CRL at the path of the request, piece by piece."""
    for _ in range(3):  # a new list may take its place between the look and the opening; not again and again
        crl = published(pages.crls, request.path)
        if crl is None:
            return Response(b"", 404)
        left = max(0, crl.next_update - _now(pages.clock))
        kept = _kept(crl.etag, crl.this_update, crl.next_update, min(pages.max_age, left))
        if _is_known(crl.etag, crl.this_update):
            return not_modified(kept)
        file = crl.open()
        if file is not None:
            return _streamed(crl, file, kept)
    return Response(b"", 503, {"Retry-After": "1"})


def _streamed(crl: PublishedCrl, file: BinaryIO, kept: dict[str, str]) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        with file:
            while piece := file.read(
                PIECE_OCTETS
            ):  # from the page cache, or a fast disk: no thread is worth it
                yield piece

    response = Response(
        pieces(), 200, {**kept, "Content-Length": str(crl.size)}, content_type="application/pkix-crl"
    )
    response.timeout = LEAST_SECONDS + crl.size / SLOWEST_OCTETS_PER_SECOND
    return response


def _kept(etag: bytes, last_modified: int, expires: int, max_age: int) -> dict[str, str]:
    """What caches are told of a document or CRL."""
    return {
        "Cache-Control": f"max-age={max_age}, public, no-transform, must-revalidate",
        "Last-Modified": http_date(last_modified).decode(),
        "Expires": http_date(expires).decode(),
        "ETag": f'"{etag.decode()}"',
    }


def _is_known(etag: bytes, last_modified: int) -> bool:
    headers = request.headers
    return has_current(headers.get("If-None-Match"), headers.get("If-Modified-Since"), etag, last_modified)


def _in_quart(answer: HttpAnswer) -> Response:
    """Make a response that has these fields and no others."""
    status, fields, body = answer
    headers = dict(line.split(": ", 1) for line in fields.decode("ascii").splitlines())
    if status == 304:
        return not_modified(headers)
    response = Response(body, status, headers)
    if "Content-Type" not in headers:
        del response.headers["Content-Type"]
    return response


def _now(clock: Clock) -> int:
    return int(clock.now().timestamp())
