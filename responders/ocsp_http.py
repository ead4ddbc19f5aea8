"""OCSP over HTTP, for both fronts: from method, target and body to status, header fields and body.

RFC 6960 appendix A.1 has GET and POST; RFC 9919 (before it RFC 5019) section 7 what caches are told. Whatever OCSP
itself has a word for is said in OCSP, with HTTP status 200: an HTTP error would hide it from most clients (decision
0026).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import MappingProxyType
from typing import Protocol

from engine.json_log import bound, request_name
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.entity_tags import names_tag
from responders.http_times import http_date
from responders.ocsp_answer import MALFORMED, UNAUTHORIZED, OcspAnswer
from responders.ocsp_url import request_in_url

_log = logging.getLogger(__name__)

INTERNAL_ERROR = OcspAnswer(error_response(ResponseStatus.INTERNAL_ERROR), None)

_CONTENT_TYPE = b"Content-Type: application/ocsp-response\r\n"

ERROR_OCTETS = 5
"""An OCSPResponse without responseBytes is SEQUENCE { ENUMERATED }: five octets (RFC 6960 section 4.2.1)."""

_MORE_FIELDS = MappingProxyType(
    {405: b"Allow: GET, POST\r\n", 503: b"Retry-After: 1\r\n"}  # a second: a guess
)


HttpAnswer = tuple[int, bytes, bytes]
"""Status, header fields as they are sent (each with its line end), and body. No named tuple: those cost more than all
that is done with it (bench.ocsp)."""


class HttpAnswering(Protocol):
    """Answers requests as they come over HTTP: `OcspHttp`, or what stands in front of it for one client."""

    def at_once(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer | None:
        """Answer without waiting for anything; None where only the live signer can."""
        ...

    async def answer(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer:
        """Answer, waiting for the live signer where it is needed."""
        ...

    def refusal(self, status: int) -> HttpAnswer:
        """Return an answer of HTTP's own: a status without a body."""
        ...


class OcspRequestAnswering(Protocol):
    """What `OcspResponder` does."""

    def at_once(self, request: bytes) -> OcspAnswer | None:
        """Answer from what was signed ahead; None where only the live signer can."""
        ...

    async def answer(self, request: bytes) -> OcspAnswer:
        """Answer, with the live signer's help where it is needed."""
        ...


class OcspHttp:
    """OCSP requests as they come over HTTP.

    Args:
        responder: answers OCSP requests.
        now: tells the time that caches are told, in seconds since the epoch.
        max_age: the most seconds that a cache may keep an answer.
        path: the path of the OCSP URL in certificates; requests for `/` are answered as well.
        shared: whether caches that serve several clients may keep answers.
    """

    def __init__(
        self,
        responder: OcspRequestAnswering,
        now: Callable[[], int],
        *,
        max_age: int,
        path: bytes,
        shared: bool = True,
    ) -> None:
        self._responder = responder
        self._now = now
        self._max_age = max_age
        self._path = path
        self._who_may_keep = b"public" if shared else b"private"
        self._prefix = path.rstrip(b"/") + b"/"
        self._targets = frozenset({b"/", self._prefix, self._prefix[:-1]})
        self._second = 0
        self._heads: dict[tuple[int, int, int], bytes] = {}  # by thisUpdate, nextUpdate and length

    def at_once(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer | None:
        """Answer a request without waiting for anything.

        Args:
            method: as sent.
            target: the request target, in origin form or absolute form (RFC 9112 section 3.2), as sent.
            body: the body of a POST. Its Content-Type is not looked at: what it is, its octets tell.
            if_none_match: the value of If-None-Match, if there was one. It counts with GET only: with POST it would
                mean 412 (RFC 9110 section 13.1.2), which helps nobody.

        Returns:
            The answer; None where only the live signer can give it: then call `answer`.
        """
        request = self._request(method, target, body)
        if isinstance(request, tuple):
            return request
        try:
            answer = MALFORMED if request is None else self._responder.at_once(request)
        except Exception:  # a defect, met by one request: the others must be answered
            _tell_defect(request)
            answer = INTERNAL_ERROR
        return None if answer is None else self._in_http(answer, if_none_match if method == b"GET" else None)

    async def answer(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer:
        """As `at_once`, waiting for the live signer where it is needed. Cancelled, nothing is left behind."""
        request = self._request(method, target, body)
        if isinstance(request, tuple):
            return request
        try:
            answer = MALFORMED if request is None else await self._responder.answer(request)
        except Exception:
            _tell_defect(request)
            answer = INTERNAL_ERROR
        return self._in_http(answer, if_none_match if method == b"GET" else None)

    def for_one_party(self) -> OcspHttp:
        """Return one that gives the same answers, but tells caches that serve several clients to pass them on."""
        return OcspHttp(self._responder, self._now, max_age=self._max_age, path=self._path, shared=False)

    def unauthorized(self, method: bytes, target: bytes, body: bytes) -> HttpAnswer:
        """Answer `unauthorized` (RFC 6960 section 2.3), whatever is asked for; HTTP's own refusals go before it."""
        request = self._request(method, target, body)
        return request if isinstance(request, tuple) else self._in_http(UNAUTHORIZED, None)

    def refusal(self, status: int) -> HttpAnswer:
        """Return an answer of HTTP's own: a status without a body."""
        more = _MORE_FIELDS.get(status, b"")
        date = http_date(self._now())
        return status, b"%bDate: %b\r\nCache-Control: no-store\r\nContent-Length: 0\r\n" % (more, date), b""

    def _request(self, method: bytes, target: bytes, body: bytes) -> bytes | HttpAnswer | None:
        """Return the OCSPRequest; None where there is none to be found; or a refusal."""
        if method == b"GET":
            prefix = self._prefix
            request = request_in_url(target[len(prefix) :] if target.startswith(prefix) else target[1:])
            return self._in_unusual_target(target) if request is None else request
        if method != b"POST":
            return self.refusal(405)
        return body if target in self._targets or path_in(target) in self._targets else self.refusal(404)

    def _in_unusual_target(self, target: bytes) -> bytes | HttpAnswer | None:
        path = path_in(target)
        if path in self._targets:
            return None
        if path.startswith(self._prefix):
            return request_in_url(path[len(self._prefix) :])
        request = request_in_url(path[1:])
        if request is None and not path.startswith(b"/M"):  # a SEQUENCE is 0x30, which base64 begins with M
            return self.refusal(404)
        return request

    def _in_http(self, answer: OcspAnswer, if_none_match: bytes | None) -> HttpAnswer:
        now = self._now()
        response, caching = answer
        if caching is None:
            return 200, _uncached(response, now), response
        if now != self._second:
            self._second = now
            self._heads.clear()
        this_update, next_update, etag = caching
        if if_none_match is not None and names_tag(if_none_match, etag):
            return 304, self._told(this_update, next_update) + etag + b'"\r\n', b""
        shape = this_update, next_update, len(response)
        head = self._heads.get(shape) or self._head(shape)
        return 200, head + etag + b'"\r\n', response

    def _head(self, shape: tuple[int, int, int]) -> bytes:
        """The header fields of an answer in this second, up to its tag. Those of a batch are alike."""
        *updates, length = shape
        head = self._heads[shape] = b"%bContent-Length: %d\r\n%b" % (
            _CONTENT_TYPE,
            length,
            self._told(*updates),
        )
        return head

    def _told(self, this_update: int, next_update: int) -> bytes:
        """What caches are told in this second of an answer signed ahead (RFC 9919 section 7.2), up to its tag."""
        now = self._second
        return (
            b"Cache-Control: max-age=%d, %b, no-transform, must-revalidate\r\n"
            b'Date: %b\r\nLast-Modified: %b\r\nExpires: %b\r\nETag: "'
            % (
                max(0, min(self._max_age, next_update - now)),
                self._who_may_keep,
                http_date(now),
                http_date(this_update),
                http_date(next_update),
            )
        )


def _tell_defect(request: bytes | None) -> None:
    with bound(request=request_name(request or b"")):
        _log.exception("an OCSP request was not answered")


def _uncached(response: bytes, now: int) -> bytes:
    """What caches are told of an error, and of an answer for one caller only: one with a nonce."""
    control = b"no-store" if len(response) == ERROR_OCTETS else b"private, no-store"
    return b"%bContent-Length: %d\r\nCache-Control: %b\r\nDate: %b\r\n" % (
        _CONTENT_TYPE,
        len(response),
        control,
        http_date(now),
    )


def is_billable(answer: HttpAnswer) -> bool:
    """Whether an answer says something about a certificate, or that what the client has still holds (304)."""
    status, _, body = answer
    return len(body) > ERROR_OCTETS or status == 304  # HTTP's own refusals have no body


def path_in(target: bytes) -> bytes:
    """Return the path of a request target in any form, without its query."""
    target = target.partition(b"?")[0]
    _, absolute, rest = target.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if absolute and not target.startswith(b"/") else target
