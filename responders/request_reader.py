"""Reading HTTP/1.1 requests out of the segments of a connection, by httptools, within bounds.

Framing is the parser's business, which refuses whatever two servers might read differently. What is bounded here is
size: a request that does not fit one segment may grow to `HEADER_OCTETS` without the end of its header section, and its
body, chunked or not, to `BODY_OCTETS`.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

import httptools

from responders.ocsp_request import MAX_REQUEST_OCTETS

SEGMENT_OCTETS = HEADER_OCTETS = 8_192
"""A guess: what web servers commonly allow for a header section; a request of one certificate has 200 to 400."""

BODY_OCTETS = MAX_REQUEST_OCTETS

_NOTED = frozenset({4, 6, 10, 13})
"""Lengths of the field names that matter here: no other name need be looked at."""

_UPGRADE = re.compile(rb"(\r?\n)(?=upgrade[ \t]*:)", re.IGNORECASE)

Request = tuple[bytes, bytes, bytes, bytes | None, bool, bool]
"""Method, target, body, If-None-Match; whether the connection may be used again (RFC 9112 section 9.3); whether there
was a Connection field, for an HTTP/1.0 client wants to read that it was heard."""

STAYS: Final = 4
CONNECTION_NAMED: Final = 5
"""Places in a request."""


class RequestReader:
    """Takes segments and gives requests.

    Attributes:
        requests: those that are complete, in their order; whoever answers takes them away.
        is_partial: whether the last segment ended within a request.
    """

    __slots__ = (
        "_body",
        "_connection_named",
        "_continue",
        "_hosts",
        "_if_none_match",
        "_in_header",
        "_parser",
        "_received",
        "_target",
        "is_partial",
        "requests",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0  # octets of a request that came in more than one segment
        self.requests = deque[Request]()
        self.is_partial = False
        self._forget()

    def _forget(self) -> None:
        """Begin a request."""
        self._target = self._body = b""
        self._if_none_match: bytes | None = None
        self._hosts = 0
        self._connection_named = False
        self._continue = False
        self._in_header = True

    def feed(self, data: bytes) -> int:
        """Read a segment, when the requests of the one before have been answered.

        Returns:
            The HTTP status with which what is not in `requests` is refused, or 0. After a refusal nothing can be read.
        """
        refused = self._feed(data)
        self._received = 0 if self.requests else self._received + len(data)
        self.is_partial = not self._in_header or bool(self._target)
        return self._too_large() if self.is_partial and not refused else refused

    def wants_continue(self) -> bool:
        """Return, once for a request, whether its sender waits to be told to go on (RFC 9110 section 10.1.1)."""
        if not self._continue or self._in_header:
            return False
        self._continue = False
        return self._parser.get_http_version() != "1.0"

    def _feed(self, data: bytes) -> int:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return self._feed_without_upgrade(data)
        except httptools.HttpParserError as error:
            refused = error.__context__
            return refused.status if isinstance(refused, _Refused) else 400
        return 0

    def _feed_without_upgrade(self, data: bytes) -> int:
        """Read a request again whose wish for another protocol is not heard (RFC 9110 section 7.8).

        The parser takes the body for that protocol's. A client that offers h2c with each request sends this.
        """
        upgrading = self.requests.pop()
        if upgrading[0] == b"CONNECT":
            return 405
        if self.requests or self._received:
            return 501
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(_UPGRADE.sub(rb"\1not-", data))
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            return 400
        return 0

    def _too_large(self) -> int:
        if self._in_header:
            return 431 if self._received >= HEADER_OCTETS else 0
        # Of the body itself, the parser's callback sees to; this is for the framing of chunks.
        return 413 if self._received > HEADER_OCTETS + 2 * BODY_OCTETS else 0

    # What httptools calls.

    def on_url(self, part: bytes) -> None:
        """Take the request target, or a part of it."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the few fields that matter; framing is the parser's business."""
        if len(name) not in _NOTED or not self._in_header:  # a trailer says nothing of these
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"connection":
            self._connection_named = True
        elif name == b"if-none-match":
            self._if_none_match = value if self._if_none_match is None else self._if_none_match + b"," + value
        elif name == b"expect":
            self._continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Note that the header section has ended."""
        self._in_header = False

    def on_body(self, part: bytes) -> None:
        """Take the body, or a part of it; chunks are put together."""
        self._body += part
        if len(self._body) > BODY_OCTETS:
            raise _Refused(413)

    def on_message_complete(self) -> None:
        """Put the request with those to be answered."""
        parser = self._parser
        if self._hosts != 1 and (self._hosts or parser.get_http_version() != "1.0"):
            raise _Refused(400)  # RFC 9112 section 3.2
        self.requests.append(
            (
                parser.get_method(),
                self._target,
                self._body,
                self._if_none_match,
                parser.should_keep_alive(),
                self._connection_named,
            )
        )
        self._forget()


class _Refused(Exception):
    """What the parser's callbacks refuse; ends the parsing.

    Args:
        status: the HTTP status that says why.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
