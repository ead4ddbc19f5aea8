"""The pieces into which damage breaks a chain, and how they belong together.

A fragment is a stretch of records that stand one after the other and are chained to each other. A whole chain is one
fragment. A record that is not chained to the one before it begins another; if it is chained to some other record, that
one is its parent. The parents make the fragments a tree, in which the longest way is what the chain was: what lies
beside it was inserted, what lies on it out of order was moved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from engine.audit.log import FIRST_PREVIOUS_HASH, AuditRecord, record_hash

REMEMBERED = 4_096
"""Hashes kept to find the parent of a record that does not fit: as many records may have been inserted in one place
before they are taken for the chain and what follows for changed. A guess."""


@dataclass(slots=True)
class Fragment:
    """A stretch of the chain.

    Attributes:
        first: sequence number of its first record.
        last: sequence number of its last record.
        last_hash: the hash of its last record.
        before: sequence number of the record that stands before it, 0 at the beginning.
        parent: sequence number of the record that its first one is chained to, 0 for the beginning of the chain, None
            where no such record was found.
        record: its first record.
    """

    first: int
    last: int
    last_hash: bytes
    before: int
    parent: int | None
    record: AuditRecord

    @property
    def size(self) -> int:
        """How many records it has."""
        return self.last - self.first + 1


class FragmentWalk:
    """Takes records in the order of their numbers and keeps the fragments, in memory that does not grow with them."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        self.changed_hashes: list[int] = []
        """Records whose hash alone was changed: their content fits what stands before and after."""
        self._remembered = deque([(0, FIRST_PREVIOUS_HASH)], REMEMBERED)
        self._right_hash: bytes | None = None
        """The hash that the record before should have had, where it did not fit."""

    def step(self, record: AuditRecord) -> None:
        """Take the next record."""
        before, hash_before = self._remembered[-1]
        fits = follows(hash_before, record)
        if self._right_hash is not None and not fits and follows(self._right_hash, record):
            fragment = self.fragments[-1]
            fragment.parent = fragment.before
            self.changed_hashes.append(before)
            fits = True
        if fits and self.fragments and record.sequence == before + 1:
            self.fragments[-1].last = record.sequence
            self.fragments[-1].last_hash = record.hash
        else:
            parent = before if fits else self._parent_of(record)
            self.fragments.append(
                Fragment(record.sequence, record.sequence, record.hash, before, parent, record)
            )
        self._right_hash = None if fits else _hash_after(hash_before, record)
        self._remembered.append((record.sequence, record.hash))

    def _parent_of(self, record: AuditRecord) -> int | None:
        for sequence, earlier in reversed(self._remembered):
            if follows(earlier, record):
                return sequence
        return None


def follows(previous_hash: bytes, record: AuditRecord) -> bool:
    """Say whether a record is chained to the record of this hash."""
    return record.hash == _hash_after(previous_hash, record)


def _hash_after(previous_hash: bytes, record: AuditRecord) -> bytes:
    return record_hash(previous_hash, record.recorded_at, record.actor, record.event, record.body)


def find_later_parents(fragments: Sequence[Fragment]) -> None:
    """Give those fragments their parents that were moved before them."""
    for fragment in fragments:
        if fragment.parent is None:
            for other in fragments:
                if other is not fragment and follows(other.last_hash, fragment.record):
                    fragment.parent = other.last


def cut_at_parents(fragments: Sequence[Fragment]) -> list[Fragment]:
    """Divide fragments so that every parent is the last record of one; in the order of their numbers."""
    parents = sorted({fragment.parent for fragment in fragments if fragment.parent is not None})
    pieces: list[Fragment] = []
    for fragment in fragments:
        begin, before, parent = fragment.first, fragment.before, fragment.parent
        for cut in [p for p in parents if fragment.first <= p < fragment.last]:
            pieces.append(Fragment(begin, cut, b"", before, parent, fragment.record))
            begin, before, parent = cut + 1, cut, cut
        pieces.append(Fragment(begin, fragment.last, fragment.last_hash, before, parent, fragment.record))
    return pieces


def true_chain(pieces: Sequence[Fragment], head_hash: bytes | None) -> list[Fragment]:
    """Return the fragments of the chain as it was, in the order it had.

    Where two ways part, the one counts whose records are chained, then the one that leads to the hash that the head
    names, then the longer one.
    """
    children: dict[int, list[Fragment]] = {}
    for piece in pieces:
        children.setdefault(piece.before if piece.parent is None else piece.parent, []).append(piece)
    reach: dict[int, tuple[bool, int]] = {}
    ways: dict[int, Fragment] = {}

    def rank(piece: Fragment) -> tuple[bool, bool, int, int]:
        return (piece.parent is not None, *reach[piece.last], piece.first)

    for piece in reversed(_from_the_beginning(children)):
        is_head = piece.last_hash == head_hash  # nothing that is chained to the head belongs to the chain
        best = None if is_head else max(children.get(piece.last, []), key=rank, default=None)
        leads, length = (is_head, 0) if best is None else reach[best.last]
        reach[piece.last] = (leads, length + piece.size)
        if best is not None:
            ways[piece.last] = best
    first = max(children.get(0, []), key=rank, default=None)
    chain: list[Fragment] = []
    while first is not None:
        chain.append(first)
        first = ways.get(first.last)
    return chain


def _from_the_beginning(children: dict[int, list[Fragment]]) -> list[Fragment]:
    """Return the fragments that can be reached from the beginning, parents first."""
    reached = list(children.get(0, []))
    for piece in reached:
        reached.extend(children.get(piece.last, []))
    return reached


def out_of_order(chain: Sequence[Fragment]) -> list[Fragment]:
    """Return the fewest records that need to have been moved for a chain to stand as it does."""
    best: list[tuple[int, list[Fragment]]] = []
    for piece in chain:
        kept = max(
            (found for found in best if found[1][-1].first < piece.first),
            key=lambda found: found[0],
            default=(0, []),
        )
        best.append((kept[0] + piece.size, [*kept[1], piece]))
    in_order = max(best, key=lambda found: found[0], default=(0, []))[1]
    return [piece for piece in chain if piece not in in_order]
