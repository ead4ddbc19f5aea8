"""Responses of the site: what caches and browsers are told of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import quote

import trio
from quart import Response, request

from responders.authority_documents import Document
from responders.entity_tags import has_current, names_tag
from responders.http_times import http_date
from responders.not_modified import not_modified

LISTING_SECONDS = 60
"""How long a cache may keep a page or listing. A guess: what it shows changes a few times a day."""

FILE_SECONDS = 3_600
"""How long a cache may keep a certificate or document, whose path always has the same octets. A guess."""

STYLE_SECONDS = 31_536_000
"""A year: the path of the style sheet changes with its content."""

PIECE_OCTETS = 65_536
"""Of a file, read and sent at a time. A guess: what a socket's buffer takes."""

_TAG_DIGITS = 32
"""128 bits. A guess: two answers must not meet by chance."""

PROTECTION = {
    # No scripts, and nothing from any other host.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def protect(response: Response) -> Response:
    """Add what keeps a browser from taking a response for anything else."""
    for name, value in PROTECTION.items():
        response.headers.setdefault(name, value)
    return response


def text_response(text: str, content_type: str, status: int = 200, seconds: int | None = None) -> Response:
    """Make a response of a page or a JSON document.

    Args:
        text: the body.
        content_type: with its charset where it has one.
        status: of HTTP.
        seconds: how long a cache may keep it; None: not at all.
    """
    body = text.encode()
    if seconds is None or status != 200:
        return Response(body, status, {"Cache-Control": "no-store"}, content_type=content_type)
    tag = hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]
    headers = {"Cache-Control": f"public, max-age={seconds}", "ETag": f'W/"{tag}"'}
    known = request.headers.get("If-None-Match")
    if known is not None and names_tag(known.encode("latin-1", "replace"), tag.encode()):
        return not_modified(headers)
    return Response(body, status, headers, content_type=content_type)


def document_response(document: Document, name: str) -> Response:
    """Make a response of a small file that is downloaded under a name."""
    headers = {
        "Cache-Control": f"public, max-age={FILE_SECONDS}",
        "Last-Modified": http_date(document.last_modified).decode(),
        "ETag": f'"{document.etag.decode()}"',
        "Content-Disposition": disposition(name),
    }
    asked = request.headers
    if has_current(
        asked.get("If-None-Match"), asked.get("If-Modified-Since"), document.etag, document.last_modified
    ):
        return not_modified(headers)
    return Response(document.body, 200, headers, content_type=document.media_type)


async def file_response(path: trio.Path, name: str, media_type: str, sha256: str) -> Response | None:
    """Make a response of a file, sent piece by piece; None where the file has not come yet."""
    headers = {
        "Cache-Control": f"public, max-age={FILE_SECONDS}",
        "ETag": f'"{sha256}"',
        "Content-Disposition": disposition(name),
    }
    known = request.headers.get("If-None-Match")
    if known is not None and names_tag(known.encode("latin-1", "replace"), sha256.encode()):
        return not_modified(headers)
    try:
        size = (await path.stat()).st_size
        file = await path.open("rb")
    except FileNotFoundError:
        return None

    async def pieces() -> AsyncIterator[bytes]:
        async with file:
            while piece := await file.read(PIECE_OCTETS):
                yield piece

    return Response(pieces(), 200, {**headers, "Content-Length": str(size)}, content_type=media_type)


def disposition(name: str) -> str:
    """Return a Content-Disposition under which a file is saved (RFC 6266, RFC 8187)."""
    plain = "".join(
        character if character.isascii() and character not in '"\\%' else "_" for character in name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
