"""The CA host's answers to questions of the feed: a body out of the record, and the statement that is signed over it.

Everything that blocks is done in a few threads. A reader that waits for something new holds none of them, and no
transaction: now and then a look is taken that reads little.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, TypeVar

import trio
from sqlalchemy import func, select

from engine.audit.digest_journal import DigestJournal
from engine.authority.context import AuthorityContext
from engine.authority.detached_signature import Sign, sign_detached
from engine.clock import Clock
from engine.errors import Overloaded, StoreError
from engine.fault_points import fault_point
from engine.feed.body import Body
from engine.feed.certificate_source import CertificateSource
from engine.feed.crl_source import CrlSource
from engine.feed.listings import Head
from engine.feed.marks import mark_of
from engine.feed.piece import MOST_BODY_OCTETS, PieceKind, Statement, digest_of, join_piece
from engine.feed.publication_source import PublicationSource
from engine.feed.question import Question
from engine.feed.status_source import StatusSource
from engine.store.schema import authority_certificate
from engine.store.status_changes import last_change

THREADS = 2
"""Bodies made at once. A guess: one for a reader that takes page after page, one for those who want little."""

MOST_IN_HAND = 8
"""Questions answered at once, but for those that wait for something new; each has a body of `MOST_BODY_OCTETS` in
memory twice at most. A guess."""

MOST_WAITING = 32
"""Questions that may wait for something new. A guess: one for each public host, and some left over."""

Made = TypeVar("Made")


def journalled(sign: Sign, journal: DigestJournal) -> Sign:
    """Return a signer that writes the digest of each message to the journal before it is signed."""

    async def write_and_sign(message: bytes) -> bytes:
        journal.add([hashlib.sha256(message).digest()])
        signature = await sign(message)
        fault_point("feed.signed")
        return signature

    return write_and_sign


class _Hashed(NamedTuple):
    body: Body
    sha256: str


class FeedAnswers:
    """Answers questions.

    Args:
        context: the record, files and certificates that answers are made of.
        sign: signs with the operations key; see `journalled`.
        clock: tells the time of statements.
    """

    def __init__(self, context: AuthorityContext, sign: Sign, clock: Clock) -> None:
        self._context = context
        self._sign = sign
        self._clock = clock
        self._threads = trio.CapacityLimiter(THREADS)
        self._in_hand = self._waiting = 0
        self._status = StatusSource(context)
        self._certificates = CertificateSource(context)
        self._crls = CrlSource(context)
        self._publications = PublicationSource(context)

    async def answer(self, question: Question) -> bytes:
        """Return the piece that answers a question.

        Cancelled, it leaves nothing behind but, perhaps, a journalled signature that nobody received.

        Raises:
            PositionUnknown: the record never stood where the question says.
            DigestUnknown: there is nothing with the digest.
            Overloaded: as many questions as may be are in hand.
            StoreError: record, files or journal failed.
            TokenError: the token did not sign.
        """
        if question.kind is PieceKind.HEAD and question.wait:
            await self._wait_for_news(question)
        if self._in_hand >= MOST_IN_HAND:
            raise Overloaded(
                "the feed has as many questions in hand as it may", rule=f"at most {MOST_IN_HAND}"
            )
        self._in_hand += 1
        try:
            hashed = await trio.to_thread.run_sync(self._hashed, question, limiter=self._threads)
            return await self._piece(question, hashed)
        finally:
            self._in_hand -= 1

    async def _wait_for_news(self, question: Question) -> None:
        """Return as soon as the body of HEAD is another than the one that is known, or after the time to wait."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded("as many readers of the feed wait as may", rule=f"at most {MOST_WAITING}")
        self._waiting += 1
        try:
            with trio.move_on_after(question.wait):
                seen = None
                while True:
                    look = await trio.to_thread.run_sync(self._look, limiter=self._threads)
                    if look != seen:
                        seen = look  # taken before the head is read, so that nothing falls between
                        head = await trio.to_thread.run_sync(self._hashed, question, limiter=self._threads)
                        if head.sha256 != question.known:
                            return
                    await self._pause()
        finally:
            self._waiting -= 1

    async def _pause(self) -> None:
        await trio.sleep(self._context.configuration.feed.poll_seconds)

    def _look(self) -> tuple[object, ...]:
        """Something that is another as soon as HEAD would be, but for what the passing of time alone changes."""
        with self._context.store.read() as connection:
            responders = connection.execute(
                select(func.max(authority_certificate.c.id), func.count(authority_certificate.c.signature))
            ).one()
            told = (last_change(connection), *responders, *self._publications.look(connection))
        return (*told, self._crls.look())

    def _hashed(self, question: Question) -> _Hashed:
        body = self._body(question)
        if len(body.octets) > MOST_BODY_OCTETS:
            raise StoreError(
                "a listing is larger than a piece of the feed may be",
                place=question.kind.value,
                value=len(body.octets),
                rule=f"at most {MOST_BODY_OCTETS} octets",
            )
        return _Hashed(body, digest_of(body.octets))

    def _body(self, question: Question) -> Body:
        after = question.after
        match question.kind:
            case PieceKind.HEAD:
                return self._head()
            case PieceKind.PARTIES:
                return self._status.parties()
            case PieceKind.STATUS:
                return self._status.status(after, question.mark)
            case PieceKind.STATUS_SNAPSHOT:
                return self._status.snapshot(after)
            case PieceKind.CERTIFICATES:
                return self._certificates.certificates(after, question.mark)
            case PieceKind.CERTIFICATES_SNAPSHOT:
                return self._certificates.snapshot(after)
            case PieceKind.CRLS:
                return self._crls.crls()
            case PieceKind.CRL:
                return self._crls.crl(question.digest, after)
            case PieceKind.PUBLICATIONS:
                return self._publications.publications()
            case PieceKind.PUBLICATION:
                return self._publications.publication(question.digest, after)
            case PieceKind.ACCOUNTS:
                return self._publications.accounts()

    def _head(self) -> Body:
        with self._context.store.read() as connection:
            sequence = last_change(connection)  # before the listings: what comes meanwhile is told next time
            mark = mark_of(connection, sequence)
        head = Head(
            sequence=sequence,
            parties=digest_of(self._status.parties().octets),
            crls=digest_of(self._crls.crls().octets),
            publications=digest_of(self._publications.publications().octets),
            accounts=digest_of(self._publications.accounts().octets),
        )
        return Body(head.model_dump_json().encode(), sequence, mark)

    async def _piece(self, question: Question, hashed: _Hashed) -> bytes:
        authority, now, body = self._context.authority, self._clock.now(), hashed.body
        statement = Statement(
            feed=authority.ca.key_identifier.hex(),
            challenge=question.challenge,
            kind=question.kind,
            after=body.after,
            through=body.through,
            is_last=body.is_last,
            sequence=body.sequence,
            mark=body.mark,
            made_at=int(now.timestamp()),
            octets=len(body.octets),
            sha256=hashed.sha256,
        ).canonical()
        signature = await sign_detached(
            statement,
            certificate=authority.operations.certificate,
            chain=(),
            signing_time=now,
            sign=self._sign,
        )
        return join_piece(statement, signature, body.octets)
