"""Requests as they are written down."""

from __future__ import annotations

from dataclasses import dataclass

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Request:
    """A request as it is written down."""

    target: bytes
    method: bytes = b"GET"
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    version: bytes = b"HTTP/1.1"
    says_length: bool = True

    def octets(self) -> bytes:
        own = ((b"Host", b"ca.example"), *self.headers)
        if self.body and self.says_length:
            own += ((b"Content-Length", b"%d" % len(self.body)),)
        lines = [self.method + b" " + self.target + b" " + self.version]
        lines += [name + b": " + value for name, value in own]
        return b"\r\n".join([*lines, b"", self.body])


@dataclass(frozen=True)
class Sent:
    """What goes over a connection.

    Attributes:
        octets: all of it.
        requests: how many requests were meant.
        is_good: whether nothing was bent.
    """

    octets: bytes
    requests: int
    is_good: bool
