"""A body with the part of the statement that says what stretch of the record it is of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.feed.entries import pack_entries
from engine.feed.piece import MOST_BODY_OCTETS

_ENTRY_HEAD_OCTETS = 12
"""Number and length of an entry (entries.py)."""


class Body(NamedTuple):
    """What a piece is made of; the fields are those of the statement."""

    octets: bytes
    sequence: int
    mark: str
    after: int = 0
    through: int = 0
    is_last: bool = True


class Page(NamedTuple):
    """As many entries as a body has room for."""

    octets: bytes
    last_taken: int | None
    """The number of the last one; None where there was none."""
    is_whole: bool
    """Whether all fitted."""


def page_of(entries: Iterable[tuple[int, bytes]], most_octets: int = MOST_BODY_OCTETS) -> Page:
    """Take numbered contents, in their order, as long as there is room for them.

    Args:
        entries: each smaller than a body.
        most_octets: of the page.
    """
    taken: list[tuple[int, bytes]] = []
    octets = 0
    for entry in entries:
        octets += _ENTRY_HEAD_OCTETS + len(entry[1])
        if octets > most_octets:
            return Page(pack_entries(taken), taken[-1][0] if taken else None, False)
        taken.append(entry)
    return Page(pack_entries(taken), taken[-1][0] if taken else None, True)
