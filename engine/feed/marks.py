"""The mark of a position: a digest of the entry of the change feed that a reader stands at.

Sequence numbers begin anew where a record is put back from a copy. The same number with another mark is another
history, from which nothing may be read on.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection

from engine.feed.refusals import PositionUnknown
from engine.store.status_changes import changes_after, last_change

MARK_DIGITS = 32
"""128 bits. A guess: two histories must not meet by chance."""


def mark_of(connection: Connection, sequence: int) -> str:
    """Return the mark of an entry of the change feed; nothing for 0, before the first.

    Raises:
        PositionUnknown: there is no such entry.
    """
    if sequence == 0:
        return ""
    found = changes_after(connection, sequence - 1, 1)
    if not found or found[0].sequence != sequence:
        raise _unknown(sequence, "there is no such entry")
    entry = found[0]
    text = f"{entry.sequence}:{entry.kind}:{entry.subject}:{entry.changed_at}"
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:MARK_DIGITS]


def check_position(connection: Connection, sequence: int, mark: str) -> None:
    """Check that the record has been where a reader says it stands.

    Raises:
        PositionUnknown: the position lies after the end of the change feed, or another entry is there.
    """
    last = last_change(connection)
    if sequence > last:
        raise _unknown(sequence, f"the change feed ends with entry {last}")
    if mark_of(connection, sequence) != mark:
        raise _unknown(sequence, "its mark is another one: this is not the record that was read before")


def _unknown(sequence: int, rule: str) -> PositionUnknown:
    return PositionUnknown(
        "the feed cannot be read on from this position", place="change feed", value=sequence, rule=rule
    )
