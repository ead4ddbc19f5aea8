"""Entries of a body: number (8 octets), length (4), content; and the certificate among them, with its acceptance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from engine.errors import FeedRejected

_ENTRY = Struct(">QI")
_ACCEPTED = Struct(">Q")


def pack_entries(entries: Iterable[tuple[int, bytes]]) -> bytes:
    """Pack numbered contents, in their order."""
    parts: list[bytes] = []
    for number, content in entries:
        parts += (_ENTRY.pack(number, len(content)), content)
    return b"".join(parts)


def unpack_entries(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Read the entries of a body.

    Raises:
        FeedRejected: it does not end with an entry.
    """
    position, end = 0, len(body)
    while position < end:
        if end - position < _ENTRY.size:
            raise _cut_off(position)
        number, length = _ENTRY.unpack_from(body, position)
        position += _ENTRY.size
        if end - position < length:
            raise _cut_off(position)
        yield number, body[position : position + length]
        position += length


def _cut_off(position: int) -> FeedRejected:
    return FeedRejected("an entry of a piece is cut off", place=f"octet {position} of the body")


class AcceptedCertificate(NamedTuple):
    """A certificate that may be published (CPS 4.3.1)."""

    accepted_at: int
    """Seconds since the epoch."""
    certificate: bytes
    """DER."""

    def packed(self) -> bytes:
        """Return the content of its entry."""
        return _ACCEPTED.pack(self.accepted_at) + self.certificate

    @classmethod
    def unpacked(cls, content: bytes) -> AcceptedCertificate:
        """Read the content of an entry.

        Raises:
            FeedRejected: it is too short.
        """
        if len(content) <= _ACCEPTED.size:
            raise FeedRejected("an entry has no certificate", place="certificates", value=len(content))
        return cls(_ACCEPTED.unpack_from(content)[0], content[_ACCEPTED.size :])
