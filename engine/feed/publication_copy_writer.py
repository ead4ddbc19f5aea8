"""Documents, news and notices on a public host, and the accounts of relying parties."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import trio

from engine.errors import FeedRejected
from engine.feed.content_fetch import DIRECTORY, READABLE, fetch_content, files_of
from engine.feed.feed_client import Asking
from engine.feed.head_news import HeadNews
from engine.feed.listings import ListedAccount, listing_from
from engine.feed.piece import PieceKind
from engine.repository.publication_copy import Publication, PublicationCopy

SPOOL_NAME = ".feed"
"""In the directory of the repository: contents on their way."""


class PublicationLane:
    """Keeps the publications up: contents first, then the listing that names them.

    Args:
        client: asks the feed.
        directory: `[repository].directory`.
    """

    name = "publications"

    def __init__(self, client: Asking, directory: Path) -> None:
        self._client = client
        self._directory = directory
        self._copy = PublicationCopy(directory)
        self._done = ""

    def open(self, *, from_nothing: bool = False) -> None:
        """Make the directory.

        Args:
            from_nothing: makes no difference: the listing is taken whole each time.

        Raises:
            StoreError: it cannot be made.
        """
        with files_of(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)

    async def follow(self, news: HeadNews) -> None:
        """Bring the copy to what is listed.

        Raises:
            FeedUnavailable: the old listing stays; what was fetched stays for the next call.
            FeedRejected: the old listing stays.
            StoreError: a file cannot be written.
        """
        if news.head.publications == self._done:
            return
        answer = await self._client.ask(PieceKind.PUBLICATIONS)
        listed = listing_from(answer.body, Publication)
        for one in listed:
            if one.content_sha256 is not None:
                await self._bring(one.content_sha256, one.content_size)
        await trio.to_thread.run_sync(self._write, listed)
        self._done = hashlib.sha256(answer.body).hexdigest()

    async def _bring(self, sha256: str, octets: int | None) -> None:
        path = self._copy.content_path(sha256)
        if path.exists():
            return
        if octets is None:
            raise FeedRejected("a content without its size", place=self.name, value=sha256)
        spool = self._directory / SPOOL_NAME / sha256
        await fetch_content(self._client, PieceKind.PUBLICATION, sha256, octets, spool)
        with files_of(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)
            spool.rename(path)

    def _write(self, listed: Sequence[Publication]) -> None:
        """Write the listing, then remove the contents that it does not name."""
        self._copy.write(listed)
        named = {one.content_sha256 for one in listed}
        with files_of(self._directory):
            for directory in (self._directory / SPOOL_NAME, self._copy.content_path("0" * 64).parent):
                for path in directory.iterdir() if directory.is_dir() else ():
                    if path.name not in named:
                        path.unlink()


class AccountLane:
    """Keeps the accounts of relying parties up.

    Args:
        client: asks the feed.
        path: `[metering].accounts`.
    """

    name = "accounts"

    def __init__(self, client: Asking, path: Path) -> None:
        self._client = client
        self._path = path
        self._done = ""

    def open(self, *, from_nothing: bool = False) -> None:
        """Make the directory.

        Args:
            from_nothing: makes no difference.

        Raises:
            StoreError: it cannot be made.
        """
        with files_of(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)

    async def follow(self, news: HeadNews) -> None:
        """Bring the file to what is listed; the listing itself is the file.

        Raises:
            FeedUnavailable: the old one stays.
            FeedRejected: the same.
            StoreError: it cannot be written.
        """
        if news.head.accounts == self._done:
            return
        answer = await self._client.ask(PieceKind.ACCOUNTS)
        listing_from(answer.body, ListedAccount)
        with files_of(self._path):
            partial = self._path.with_name(f".{self._path.name}.partial")
            partial.write_bytes(answer.body)
            partial.chmod(READABLE)
            partial.rename(self._path)
        self._done = hashlib.sha256(answer.body).hexdigest()
