"""Asking for the feed over TLS, and verifying every piece before anybody sees it.

The server is known by its certificate and no other way; this host by its own. TLS keeps others out, but proves nothing
about what is read: that does the signature over each piece, which answers this host's very question.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx
import orjson
import trio

from engine.clock import Clock
from engine.config import PublicConfiguration
from engine.errors import FeedRejected, FeedUnavailable, HomeUnusable, the_sealmint_error
from engine.feed.admission import SERVER_CERTIFICATE
from engine.feed.feed_url import checked_url
from engine.feed.joining import OWN_CERTIFICATE, OWN_KEY
from engine.feed.piece import CHALLENGE_DIGITS, MOST_PIECE_OCTETS, PieceKind, Statement, verified
from engine.feed.question import Question
from engine.feed.trust import FeedTrust
from engine.home import Home

CONNECT_SECONDS = 10.0
"""Until a connection stands. A guess."""

READ_SECONDS = 30.0
"""Between two parts of an answer, beside what the question itself allows the server to wait. A guess: many times what
the token takes for the signature."""

PIECE_SECONDS = 300.0
"""For a whole piece: 4 MiB over a line of 120 kbit/s. A guess."""

_MOST_ERROR_OCTETS = 4_096
_REFUSALS = {
    400: "the CA host does not understand the question",
    409: "the CA's record is not the one that this host has copied; if that is meant: feed pull --from-nothing",
}
"""What asking again does not help with."""

_OFFSETS = frozenset({PieceKind.CRL, PieceKind.PUBLICATION})
_SEQUENCES = frozenset({PieceKind.STATUS, PieceKind.CERTIFICATES})


class Answer(NamedTuple):
    """A verified piece."""

    statement: Statement
    body: bytes
    asked_at: int
    """When the question was sent, seconds since the epoch by this host's clock: what the piece says was true then or
    later. When it came in says nothing, for it may have been held back."""
    asked: float
    """The same by trio's clock: what was asked before something else."""


class Asking(Protocol):
    """Whoever can be asked for pieces: the client, and what stands in for it in tests."""

    async def ask(
        self,
        kind: PieceKind,
        *,
        after: int = 0,
        mark: str = "",
        digest: str = "",
        known: str = "",
        wait: int = 0,
    ) -> Answer:
        """Ask for a piece; see `FeedClient.ask`."""
        ...


class FeedClient:
    """Asks one feed.

    Args:
        url: `https://host:port`.
        transport: does the HTTP, with the two certificates.
        trust: whose signature a piece must bear.
        clock: tells when a question is sent.
    """

    def __init__(self, url: str, transport: httpx.AsyncClient, trust: FeedTrust, clock: Clock) -> None:
        self._url = url
        self._transport = transport
        self._trust = trust
        self._clock = clock

    async def ask(
        self,
        kind: PieceKind,
        *,
        after: int = 0,
        mark: str = "",
        digest: str = "",
        known: str = "",
        wait: int = 0,
    ) -> Answer:
        """Ask for a piece, with a challenge that was never used before.

        Args:
            kind: of what.
            after: where this host stands.
            mark: the digest of the entry of the change feed there.
            digest: SHA-256 of the content that is wanted.
            known: SHA-256 of the body of the last HEAD.
            wait: seconds that the server may wait for another one.

        Raises:
            FeedUnavailable: nobody is there, or no answer comes; asking again may help.
            FeedRejected: what came is not the CA's answer to this question, or the CA's record is another one.

        Cancelled, nothing is left behind.
        """
        question = Question(
            kind=kind,
            challenge=secrets.token_hex(CHALLENGE_DIGITS // 2),
            after=after,
            mark=mark,
            digest=digest,
            known=known,
            wait=wait,
        )
        asked_at, asked = int(self._clock.now().timestamp()), trio.current_time()
        piece = await self._fetch(question)
        check = partial(refusal, question, self._trust.feed)
        statement, body = await trio.to_thread.run_sync(
            partial(verified, piece, signer=self._trust.operations, expected=check, place=self._place(kind))
        )
        return Answer(statement, body, asked_at, asked)

    def _place(self, kind: PieceKind) -> str:
        return f"{self._url}/feed/v1/{kind.value}"

    async def _fetch(self, question: Question) -> bytes:
        place = self._place(question.kind)
        asked = question.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True)
        patience = httpx.Timeout(READ_SECONDS + question.wait, connect=CONNECT_SECONDS)
        try:
            with trio.fail_after(PIECE_SECONDS + question.wait):
                async with self._transport.stream("GET", place, params=asked, timeout=patience) as response:
                    octets = await _limited(response, place)
                    status = response.status_code
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError, trio.TooSlowError) as error:
            raise FeedUnavailable(
                "the feed does not answer", place=place, value=f"{type(error).__name__}: {error}"
            ) from error
        if status == httpx.codes.OK:
            return octets
        if status in _REFUSALS:
            raise FeedRejected(_REFUSALS[status], place=place, value=status, rule=_said(octets))
        raise FeedUnavailable("the feed gives no answer", place=place, value=status, rule=_said(octets))


async def _limited(response: httpx.Response, place: str) -> bytes:
    most = MOST_PIECE_OCTETS if response.status_code == httpx.codes.OK else _MOST_ERROR_OCTETS
    parts: list[bytes] = []
    octets = 0
    async for part in response.aiter_raw():
        octets += len(part)
        if octets > most:
            raise FeedRejected(
                "an answer of the feed is too long", place=place, rule=f"at most {most} octets"
            )
        parts.append(part)
    return b"".join(parts)


def _said(octets: bytes) -> str | None:
    """What the server says of its refusal: shown, and nothing more."""
    try:
        document = orjson.loads(octets)
    except orjson.JSONDecodeError:
        return None
    return str(document.get("error"))[:200] if isinstance(document, dict) else None


def refusal(question: Question, feed: str, statement: Statement) -> str | None:
    """Say why a statement does not answer a question; None where it does."""
    rules: list[tuple[bool, str]] = [
        (statement.feed == feed, f"of the CA with the key {feed}"),
        (statement.challenge == question.challenge, "with the challenge of the question"),
        (statement.kind == question.kind, f"of the kind {question.kind.value}"),
        (statement.after == question.after, f"from {question.after} on"),
        (statement.through >= statement.after, "ends where it begins, or later"),
        (statement.is_last or statement.through > statement.after, "brings something, or is the last"),
    ]
    if question.kind in _SEQUENCES:
        rules.append((statement.through <= statement.sequence, "ends with an entry that there is"))
    if question.kind in _OFFSETS:
        rules.append((statement.through - statement.after == statement.octets, "ends where its octets do"))
    return next((rule for holds, rule in rules if not holds), None)


@asynccontextmanager
async def open_feed(
    url: str, home: Home, configuration: PublicConfiguration, trust: FeedTrust, clock: Clock
) -> AsyncIterator[FeedClient]:
    """Yield a client with this host's own certificate, which believes in the pinned server certificate alone.

    Raises:
        HomeUnusable: a certificate or key is missing or damaged: this host did not join.
        ConfigurationInvalid: the URL is none of a feed.
    """
    place = checked_url(url)
    context = _tls(Path(configuration.feed.directory), home)
    async with httpx.AsyncClient(
        verify=context,
        trust_env=False,  # neither a proxy nor another certificate comes out of the environment
        follow_redirects=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "sealmint"},
        limits=httpx.Limits(max_connections=8),  # a lane each, and one to wait with
    ) as transport:
        yield FeedClient(place, transport, trust, clock)


def _tls(directory: Path, home: Home) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The certificate itself is pinned: the only one trusted here, self-signed, and no CA's, so it can certify no other.
    # It says no host name: the CA host may be reached at any address.
    context.check_hostname = False
    server = directory / SERVER_CERTIFICATE
    try:
        context.load_verify_locations(server)
        context.load_cert_chain(directory / OWN_CERTIFICATE, home.path / "secrets" / OWN_KEY)
    except (OSError, ssl.SSLError) as error:
        raise HomeUnusable(
            "this host cannot ask for the feed; finish with: sealmint feed join",
            place=str(directory),
            value=str(error),
        ) from error
    return context


Apply = Callable[[Answer], None]


async def take_pieces(client: Asking, kind: PieceKind, after: int, mark: str, apply: Apply) -> None:
    """Ask for one piece after the other up to the last, each while the one before is taken in on a thread.

    Args:
        client: who is asked.
        kind: of what.
        after: where to begin.
        mark: the digest of the entry there; empty for what has no place in the change feed.
        apply: takes a piece in: wholly, or raising an error.

    Raises:
        FeedUnavailable: what was taken before stays.
        FeedRejected: the same.
    """
    send, receive = trio.open_memory_channel[Answer](0)  # one in hand, one here: 4 MiB each

    async def download() -> None:
        position, at = after, mark
        async with send:
            while True:
                answer = await client.ask(kind, after=position, mark=at)
                try:
                    await send.send(answer)
                except trio.BrokenResourceError:
                    return  # a piece was refused while this one came: the refusal is what is raised
                if answer.statement.is_last:
                    return
                position = answer.statement.through
                at = answer.statement.mark if kind in _SEQUENCES else ""

    try:
        async with trio.open_nursery() as nursery, receive:
            nursery.start_soon(download)
            async for answer in receive:
                await trio.to_thread.run_sync(apply, answer)
    except BaseExceptionGroup as group:
        raise the_sealmint_error(group) from group
