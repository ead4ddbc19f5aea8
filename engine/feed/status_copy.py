"""The status store of a public host: a copy of the record's statuses, kept up by the feed.

From nothing it is built by card numbers, into a generation beside the one in use; then the change feed is read from
where the record stood at the first page, since cards may have changed after they were copied. Readers change over when
that has come to its end. Each piece goes in with the position it brings, in one transaction, or not at all.

The store says it is current as of the moment a question was sent whose answer said that there was nothing newer. When
the answer arrived proves nothing: whoever holds it back must not make old statuses look fresh.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import trio

from engine.clock import Clock
from engine.errors import FeedRejected, StoreError
from engine.feed.entries import unpack_entries
from engine.feed.feed_client import Answer, Asking, take_pieces
from engine.feed.head_news import HeadNews, is_beyond
from engine.feed.piece import PieceKind
from engine.feed.status_records import StatusRecords, UnknownResponder
from engine.feed.trust import FeedTrust
from engine.status.card_record import unpack
from engine.status.status_store import Freshness
from engine.status.status_store_build import StoreBuild, begin_build, resume_build
from engine.status.status_store_writer import CopyPosition, PackedCard, StatusWriter, open_current

_PLACE = "status store"


class StatusCopy:
    """Keeps the status store up; the one writer of it, under its lock.

    Args:
        client: asks the feed.
        directory: `[ocsp].status_store`.
        trust: the CA.
        clock: tells when a build is too old to go on with.
    """

    name = "status"

    def __init__(self, client: Asking, directory: Path, trust: FeedTrust, clock: Clock) -> None:
        self._client = client
        self._directory = directory
        self._trust = trust
        self._clock = clock
        self._build: StoreBuild | None = None
        self._writer: StatusWriter | None = None
        self._records: StatusRecords | None = None
        self._new_parties: bytes | None = None
        self._taken = -math.inf

    def open(self, *, from_nothing: bool = False) -> None:
        """Open the store, or the one that is being built; begin to build one where there is neither.

        Args:
            from_nothing: build a new one beside the one in use, whatever there is.

        Raises:
            StoreError: it cannot be opened.
        """
        now = int(self._clock.now().timestamp())
        source = self._trust.feed
        if not from_nothing:
            self._build = resume_build(self._directory, source, now)
            self._writer = self._build.writer if self._build else open_current(self._directory)
        if self._writer is None:
            self._build = begin_build(self._directory, source, now)
            self._writer = self._build.writer
        parties = self._writer.parties()
        self._records = StatusRecords(parties, self._trust) if parties else None

    def close(self) -> None:
        """Close the store; what was written stays."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @property
    def position(self) -> CopyPosition:
        """How far the copy has come."""
        return self._opened().position()

    async def follow(self, news: HeadNews) -> None:
        """Bring the copy to where the record stands; whether anything is to be done is seen here.

        Raises:
            FeedUnavailable: what came before stays; the next call goes on from there.
            FeedRejected: something is not the CA's, or older than what this host has: nothing of its piece was taken.
            StoreError: the disk failed.

        Cancelled, a piece in hand is taken in first.
        """
        if self._records is None or _digest(self._records.octets) != news.head.parties:
            await self._ask_parties()
        position = self.position
        if position.copied_until is not None:
            await self._take(PieceKind.STATUS_SNAPSHOT, position.copied_until)
            position = self.position
        sequence = position.progress.sequence
        if not is_beyond(news, sequence, position.mark, self._taken, _PLACE) and self._build is None:
            await trio.to_thread.run_sync(self._beat, position, news.asked_at)
            return
        await self._take(PieceKind.STATUS, sequence, position.mark)
        self._taken = trio.current_time()
        if self._build is not None:
            self._build.finish()
            self._build = None

    async def _take(self, kind: PieceKind, after: int, mark: str = "") -> None:
        apply = self._take_snapshot if kind is PieceKind.STATUS_SNAPSHOT else self._take_changes
        try:
            await take_pieces(self._client, kind, after, mark, apply)
        except UnknownResponder:  # it came after the parties were asked for
            await self._ask_parties()
            position = self.position
            after = position.progress.sequence if kind is PieceKind.STATUS else position.copied_until or 0
            await take_pieces(
                self._client, kind, after, position.mark if kind is PieceKind.STATUS else "", apply
            )

    async def _ask_parties(self) -> None:
        answer = await self._client.ask(PieceKind.PARTIES)
        self._records = StatusRecords(answer.body, self._trust)
        self._new_parties = answer.body

    def _take_snapshot(self, answer: Answer) -> None:
        """Take in a page of all cards. Where the change feed is read on from afterwards, the first one says."""
        statement = answer.statement
        position = self._opened().position()
        if position.copied_until == 0:
            sequence, mark = statement.sequence, statement.mark
        else:
            sequence, mark = position.progress.sequence, position.mark
        if statement.sequence < sequence:
            raise FeedRejected(
                "a page is older than the one before",
                place=_PLACE,
                value=statement.sequence,
                rule=f"not before entry {sequence}",
            )
        cards = self._packed(answer)
        if any(not statement.after < one.card <= statement.through for one in cards):
            raise FeedRejected(
                "a page has cards of another one",
                place=_PLACE,
                value=[cards[0].card, cards[-1].card],
                rule=f"from {statement.after + 1} to {statement.through}",
            )
        copied_until = None if statement.is_last else statement.through
        self._write(cards, CopyPosition(Freshness(sequence, 0), mark, copied_until))

    def _take_changes(self, answer: Answer) -> None:
        """Take in the cards that changed from one entry of the change feed to another."""
        statement = answer.statement
        before = self._opened().position()
        if statement.through == before.progress.sequence and statement.mark != before.mark:
            raise FeedRejected(
                "the CA's record is not the one that this host has; if that is meant: feed pull --from-nothing",
                place=_PLACE,
                value=statement.mark,
                rule=f"entry {before.progress.sequence} with the mark {before.mark}",
            )
        cards = self._packed(answer)
        self._check_revisions(cards)
        current_as_of = answer.asked_at if statement.is_last else before.progress.written_at
        self._write(cards, CopyPosition(Freshness(statement.through, current_as_of), statement.mark, None))

    def _check_revisions(self, cards: list[PackedCard]) -> None:
        for one, stored in zip(cards, self._opened().packed(one.card for one in cards), strict=True):
            if stored is not None and one.octets[:4] < stored[:4]:  # big-endian: as the numbers themselves
                raise FeedRejected(
                    "a card's status is older than the one that this host has",
                    place=f"card {one.card}",
                    value=unpack(one.octets).revision,
                    rule=f"not before revision {unpack(stored).revision}",
                )

    def _packed(self, answer: Answer) -> list[PackedCard]:
        if self._records is None:
            raise StoreError("issuers and responders are not known yet", place=_PLACE)
        return self._records.packed_cards(unpack_entries(answer.body))

    def _beat(self, position: CopyPosition, as_of: int) -> None:
        """Note that there was nothing newer when the question was sent."""
        sequence, before = position.progress
        self._write([], position._replace(progress=Freshness(sequence, max(before, as_of))))

    def _write(self, cards: list[PackedCard], position: CopyPosition) -> None:
        self._opened().write_copied(cards, position, self._new_parties)
        self._new_parties = None  # not before they are in the store

    def _opened(self) -> StatusWriter:
        if self._writer is None:
            raise StoreError("the status store is not open", place=str(self._directory))
        return self._writer


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
