"""Pulling the feed: once, or following it.

Five lanes, each with its own copy and its own troubles: a CRL that is rejected keeps no status away. The status lane
goes first, since a host that does not know of withdrawals answers nobody.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import trio

from engine.authority.configured_profiles import configured_profiles
from engine.clock import Clock
from engine.config import PublicConfiguration
from engine.errors import (
    ConfigurationInvalid,
    FeedRejected,
    FeedUnavailable,
    SealmintError,
    the_sealmint_error,
)
from engine.feed.certificate_copy import CertificateCopy
from engine.feed.crl_copy import CrlCopy
from engine.feed.feed_client import Asking, open_feed
from engine.feed.head_news import HeadNews, news_from
from engine.feed.piece import PieceKind
from engine.feed.publication_copy_writer import AccountLane, PublicationLane
from engine.feed.status_copy import StatusCopy
from engine.feed.trust import FeedTrust, load_trust
from engine.home import Home
from engine.json_log import Log
from engine.metrics.catalogue import FEED_LANE_FAILURES, FEED_LANE_SUCCESS
from engine.metrics.registry import Metrics

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
"""Between tries while the feed is unavailable or the disk fails, doubling. A guess: a restart of the CA host is soon
noticed, and a hundred hosts are no burden to it."""

REJECTED_SECONDS = 60.0
"""Before something that was rejected is asked for again. A guess: an operator has to look, perhaps at the other end."""


class Lane(Protocol):
    """Keeps one copy up."""

    @property
    def name(self) -> str:
        """How it is called in the log."""
        ...

    def open(self, *, from_nothing: bool = False) -> None:
        """Open the copy."""
        ...

    async def follow(self, news: HeadNews) -> None:
        """Bring the copy to where the record stands."""
        ...


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of a public host, the status first."""

    status: StatusCopy
    others: Sequence[Lane]

    @property
    def lanes(self) -> list[Lane]:
        """All of them, in the order in which they are brought up."""
        return [self.status, *self.others]

    def open(self, *, from_nothing: bool = False) -> None:
        """Open all copies."""
        for lane in self.lanes:
            lane.open(from_nothing=from_nothing)

    def close(self) -> None:
        """Close what stays open."""
        self.status.close()


def copies_of(
    client: Asking, home: Home, configuration: PublicConfiguration, trust: FeedTrust, clock: Clock
) -> Copies:
    """Return the copies where the configuration says that they are.

    Raises:
        ConfigurationInvalid: the profile file is wrong.
    """
    repository = Path(configuration.repository.directory)
    return Copies(
        StatusCopy(client, Path(configuration.ocsp.status_store), trust, clock),
        (
            CrlCopy(client, Path(configuration.crl.directory), trust, clock),
            CertificateCopy(client, repository, trust, configured_profiles(configuration)),
            PublicationLane(client, repository),
            AccountLane(client, Path(configuration.metering.accounts)),
        ),
    )


@asynccontextmanager
async def open_pull(
    home: Home,
    configuration: PublicConfiguration,
    clock: Clock,
    *,
    url: str | None = None,
    from_nothing: bool = False,
) -> AsyncIterator[Puller]:
    """Open the copies of a public host, of which this process is the one writer then.

    Args:
        home: the home of a public host.
        configuration: its settings.
        clock: tells the time.
        url: where the feed is; `[feed].url` without it.
        from_nothing: build new copies beside those in use.

    Raises:
        HomeUnusable: this host did not join, or another process writes its copies.
        ConfigurationInvalid: nobody says where the feed is.
        StoreError: a copy cannot be opened.
    """
    address = url or configuration.feed.url
    if address is None:
        raise ConfigurationInvalid(
            "nobody says where the feed is", place="feed.url", rule="set it, or give --from"
        )
    trust = load_trust(home)
    with home.lock("status-store", "pulling the feed"):
        async with open_feed(address, home, configuration, trust, clock) as client:
            copies = copies_of(client, home, configuration, trust, clock)
            try:
                copies.open(from_nothing=from_nothing)
                yield Puller(client, copies)
            finally:
                copies.close()


@dataclass
class Puller:
    """Pulls one feed into the copies.

    Args:
        client: asks.
        copies: are opened.
        pauses: spreads the tries of many hosts; tests seed it.
    """

    client: Asking
    copies: Copies
    pauses: random.Random = field(default_factory=random.SystemRandom)

    async def pull_once(self) -> dict[str, SealmintError | None]:
        """Bring every copy to where the record stands now; return what became of each lane.

        Raises:
            FeedUnavailable: not even the head could be read.
            FeedRejected: the head is not the CA's.
        """
        news = news_from(await self.client.ask(PieceKind.HEAD))
        outcome: dict[str, SealmintError | None] = {}
        for lane in self.copies.lanes:
            try:
                await lane.follow(news)
            except SealmintError as error:
                outcome[lane.name] = error
            else:
                outcome[lane.name] = None
        return outcome

    async def follow(
        self,
        log: Log,
        wait_seconds: int,
        caught_up: Callable[[dict[str, SealmintError | None]], None],
        metrics: Metrics | None = None,
    ) -> None:
        """Follow the feed until cancelled.

        Args:
            log: told of what does not work, and when it works again.
            wait_seconds: `[feed].wait_seconds`.
            caught_up: called once, when every lane has been brought up, or failed, for the first time; gets what
                became of each.
            metrics: of the process; None = what is counted is for nobody.

        Raises:
            Nothing of ours: what goes wrong is tried again. Cancelled, pieces in hand are taken in first.
        """
        following = _Following(self, log, wait_seconds, caught_up, metrics or Metrics())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(following.heads)
                for lane in self.copies.lanes:
                    nursery.start_soon(following.lane, lane)
        except BaseExceptionGroup as group:
            raise the_sealmint_error(group) from group


class _Following:
    """One task for the heads, one for each lane."""

    def __init__(
        self,
        puller: Puller,
        log: Log,
        wait_seconds: int,
        caught_up: Callable[[dict[str, SealmintError | None]], None],
        metrics: Metrics,
    ) -> None:
        metrics.declare(FEED_LANE_FAILURES, FEED_LANE_SUCCESS)
        self._metrics = metrics
        self._puller = puller
        self._log = log
        self._wait_seconds = wait_seconds
        self._caught_up = caught_up
        self._outcome: dict[str, SealmintError | None] = {}
        self._news: HeadNews | None = None
        self._changed = trio.Event()
        self._status_was_tried = trio.Event()

    async def heads(self) -> None:
        """Ask for the head again and again: each is answered when there is another, or after the time to wait."""
        known, pause = "", Pause(self._puller.pauses)
        while True:
            try:
                answer = await self._puller.client.ask(
                    PieceKind.HEAD, known=known, wait=self._wait_seconds if known else 0
                )
                self._news = news_from(answer)
            except (FeedUnavailable, FeedRejected) as error:
                known = ""  # at once what there is, when it can be had again
                _complain(self._log, "head", error)
                await trio.sleep(pause.after(error))
                continue
            pause.over()
            known = sha256(answer.body).hexdigest()
            self._changed.set()
            self._changed = trio.Event()

    async def lane(self, lane: Lane) -> None:
        """Bring one copy up at every head; where that fails, again after a pause."""
        if lane is not self._puller.copies.status:
            await self._status_was_tried.wait()
        done: HeadNews | None = None
        pause = Pause(self._puller.pauses)
        while True:
            changed, news = self._changed, self._news
            if news is None or news is done:
                await changed.wait()
                continue
            error = await self._try(lane, news)
            if error is None:
                done = news
                pause.over()
            else:  # not sooner at news either: a busy record has some every second
                await trio.sleep(pause.after(error))

    async def _try(self, lane: Lane, news: HeadNews) -> SealmintError | None:
        failed_before = self._outcome.get(lane.name) is not None
        error: SealmintError | None = None
        try:
            await lane.follow(news)
        except SealmintError as raised:
            error = raised
            _complain(self._log, lane.name, error)
            self._metrics.counter(FEED_LANE_FAILURES, lane=lane.name, error=type(error).__name__).add()
        else:
            self._metrics.gauge(FEED_LANE_SUCCESS, lane=lane.name).set(time.time())
            if failed_before:
                self._log.info("works-again", lane=lane.name)
        is_first = lane.name not in self._outcome
        self._outcome[lane.name] = error
        if lane is self._puller.copies.status:
            self._status_was_tried.set()
        if is_first and len(self._outcome) == len(self._puller.copies.lanes):
            self._caught_up(dict(self._outcome))
        return error


class Pause:
    """How long to wait before the next try: doubling, with up to half of it left out by chance.

    Args:
        chance: keeps hosts that lost the feed together from asking for it together.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._next = FIRST_PAUSE_SECONDS

    def over(self) -> None:
        """Begin anew: it worked."""
        self._next = FIRST_PAUSE_SECONDS

    def after(self, error: SealmintError) -> float:
        """Return how many seconds to wait after an error."""
        longest = REJECTED_SECONDS if isinstance(error, FeedRejected) else self._next
        self._next = min(2 * self._next, LONGEST_PAUSE_SECONDS)
        return longest * (1 - self._chance.random() / 2)


def _complain(log: Log, lane: str, error: SealmintError) -> None:
    event = "rejected" if isinstance(error, FeedRejected) else "unavailable"
    if not isinstance(error, FeedRejected | FeedUnavailable):
        event = "failed"
    value = None if error.value is None else str(error.value)[:200]
    log.error(
        event,
        lane=lane,
        error=type(error).__name__,
        message=error.message,
        place=error.place,
        value=value,
        rule=error.rule,
    )
