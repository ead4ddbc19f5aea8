"""Why the feed answers a question with no piece, where neither end is at fault for good."""

from __future__ import annotations

from engine.errors import InputRejected


class PositionUnknown(InputRejected):
    """The record never stood where the question says: it was put back, or it is another one."""


class DigestUnknown(InputRejected):
    """There is nothing with this digest, or no more: read the listing again."""
