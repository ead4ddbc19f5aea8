"""The accepted certificates on a public host: into its index, each verified with the CA's key first."""

from __future__ import annotations

import math
from pathlib import Path

import trio

from engine.errors import FeedRejected, InputRejected
from engine.feed.content_fetch import DIRECTORY, files_of
from engine.feed.entries import AcceptedCertificate, unpack_entries
from engine.feed.feed_client import Answer, Asking, take_pieces
from engine.feed.head_news import HeadNews, is_beyond
from engine.feed.piece import PieceKind
from engine.feed.trust import FeedTrust, certificate_from, check_issued
from engine.repository.certificate_index_writer import CertificateIndexWriter, IndexPosition
from engine.repository.published_certificate import PublishedCertificate, published_certificate
from engine.x509.profiles import ProfileSet

INDEX_NAME = "certificates.sqlite"
BUILDING_NAME = "certificates.sqlite.building"
"""A build from nothing; renamed when it is complete, and gone on with when it was not."""


class CertificateCopy:
    """Keeps the certificate index up.

    Args:
        client: asks the feed.
        directory: `[repository].directory`.
        trust: the CA.
        profiles: what the certificates were issued by.
    """

    name = "certificates"

    def __init__(self, client: Asking, directory: Path, trust: FeedTrust, profiles: ProfileSet) -> None:
        self._client = client
        self._index, self._building = directory / INDEX_NAME, directory / BUILDING_NAME
        self._trust = trust
        self._profiles = profiles
        self._taken = -math.inf

    def open(self, *, from_nothing: bool = False) -> None:
        """Begin a build where one is wanted, or where there is no index.

        Raises:
            StoreError: it cannot be written.
        """
        with files_of(self._building):
            self._building.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)
            if from_nothing:
                self._building.unlink(missing_ok=True)
        if from_nothing or not (self._index.exists() or self._building.exists()):
            with CertificateIndexWriter(self._building) as index:
                index.put([], IndexPosition(0, "", 0))

    async def follow(self, news: HeadNews) -> None:
        """Bring the index to where the record stands.

        Raises:
            FeedUnavailable: what came before stays; the next call goes on from there.
            FeedRejected: something is not the CA's, or older than what this host has: nothing of its piece was taken.
            StoreError: the index cannot be written.
        """
        position = await trio.to_thread.run_sync(self.position)
        if position.snapshot_until is not None:
            after = position.snapshot_until
            await take_pieces(self._client, PieceKind.CERTIFICATES_SNAPSHOT, after, "", self._take_snapshot)
            position = await trio.to_thread.run_sync(self.position)
        if is_beyond(news, position.sequence, position.mark, self._taken, self.name):
            await take_pieces(
                self._client, PieceKind.CERTIFICATES, position.sequence, position.mark, self._take_changes
            )
            self._taken = trio.current_time()
        if self._building.exists():
            with files_of(self._index):
                self._building.rename(self._index)

    def position(self) -> IndexPosition:
        """Return how far the index has come, or the build that is to take its place."""
        with self._opened() as index:
            return index.position()

    def _opened(self) -> CertificateIndexWriter:
        """The index, for the thread that asks: a connection to SQLite belongs to one."""
        return CertificateIndexWriter(self._building if self._building.exists() else self._index)

    def _take_snapshot(self, answer: Answer) -> None:
        """Take in a page of all certificates; the first says where the change feed is read on from afterwards."""
        statement = answer.statement
        found = self._read(answer)
        with self._opened() as index:
            before = index.position()
            sequence, mark = before.sequence, before.mark
            if before.snapshot_until == 0:
                sequence, mark = statement.sequence, statement.mark
            if statement.sequence < sequence:
                raise FeedRejected(
                    "a page is older than the one before", place=self.name, value=statement.sequence
                )
            index.put(found, IndexPosition(sequence, mark, None if statement.is_last else statement.through))

    def _take_changes(self, answer: Answer) -> None:
        found = self._read(answer)
        with self._opened() as index:
            index.put(found, IndexPosition(answer.statement.through, answer.statement.mark, None))

    def _read(self, answer: Answer) -> list[PublishedCertificate]:
        return [self._verified(item, content) for item, content in unpack_entries(answer.body)]

    def _verified(self, item: int, content: bytes) -> PublishedCertificate:
        accepted = AcceptedCertificate.unpacked(content)
        place = f"certificate of item {item}"
        check_issued(certificate_from(accepted.certificate, place), self._trust.ca, place)
        try:
            return published_certificate(item, accepted.accepted_at, accepted.certificate, self._profiles)
        except InputRejected as error:
            raise FeedRejected(error.message, place=place, value=error.value, rule=error.rule) from error
