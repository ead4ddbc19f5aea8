"""The feed publisher: a process that reads the record and signs what of it is published, piece by piece.

    python -P -m responders.feed_publisher --home H

It is not on the network: the feed's front asks it over a Unix socket. It holds one session, with the operations key;
the CA key is never opened here.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import trio

from engine.audit.digest_journal import FEED, DigestJournal, keep_recording
from engine.authority.detached_signature import Sign
from engine.authority.observed import observe_pool
from engine.authority.role_certificates import prove_key
from engine.authority.signing import AUTHORITY_ALGORITHM, open_pool, open_token
from engine.errors import (
    ConfigurationInvalid,
    InputRejected,
    Overloaded,
    SealmintError,
    SignerUnavailable,
    TokenError,
)
from engine.feed.publisher_answers import FeedAnswers, journalled
from engine.feed.question import question_from
from engine.feed.refusals import DigestUnknown, PositionUnknown
from engine.json_log import Log
from engine.metrics.catalogue import FEED_ANSWER_DURATION
from engine.metrics.registry import Metrics
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import PoolExhausted, SessionPool
from engine.status.journalling import journalling
from engine.status.service import Service, run_service
from engine.unix_sockets import listen_unix
from responders.feed_exchange import Outcome, receive_question, send_answer
from responders.replacement import ToBeReplaced

LOCK = "feed-publisher"

MOST_CONNECTIONS = 64
"""Questions that are in hand or wait; more are refused at once. A guess: above what `FeedAnswers` takes of either."""

PATIENCE_SECONDS = 10.0
"""For a question to arrive, and for a piece to be taken. A guess: both ends are on this host."""

BACKLOG = 64
"""Connections that wait to be accepted. A guess."""


class FeedPublisher:
    """Answers questions over the Unix socket.

    Args:
        answers: makes the pieces.
        pool: signs them; tells when it has ended for good.
        log: told what went wrong.
        metrics: of the process; None = what is counted is for nobody.

    Attributes:
        ended: the error with which the pool ended, once it has: the process must go.
        stopping: set when it has; whoever runs the server stops it then.
    """

    def __init__(
        self, answers: FeedAnswers, pool: SessionPool, log: Log, metrics: Metrics | None = None
    ) -> None:
        self.ended: TokenError | None = None
        self.stopping = trio.Event()
        self._answers = answers
        self._pool = pool
        self._log = log
        self._connections = 0
        metrics = metrics or Metrics()
        self._durations = {
            outcome: metrics.histogram(FEED_ANSWER_DURATION, outcome=outcome.name.lower())
            for outcome in Outcome
        }

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until `stopping` is set. Who waits for an answer then gets none, and asks again."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._connection, [listener])
            await self.stopping.wait()
            nursery.cancel_scope.cancel()

    async def _connection(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                await self._exchange(stream)
        except* (trio.BrokenResourceError, trio.TooSlowError):
            pass  # whoever asked is gone, which is all there is to know
        finally:
            self._connections -= 1

    async def _exchange(self, stream: trio.SocketStream) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            octets = await receive_question(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
            began = perf_counter()
            outcome, content = await self._answer(octets)
            self._durations[outcome].observe(perf_counter() - began)
            with trio.fail_after(PATIENCE_SECONDS):
                await send_answer(stream, outcome, content)
            nursery.cancel_scope.cancel()

    async def _answer(self, octets: bytes) -> tuple[Outcome, bytes]:
        try:
            if self._connections > MOST_CONNECTIONS:
                raise Overloaded("too many questions to the feed", rule=f"at most {MOST_CONNECTIONS}")
            return Outcome.PIECE, await self._answers.answer(question_from(octets))
        except PositionUnknown as error:
            return Outcome.POSITION_UNKNOWN, str(error).encode()
        except DigestUnknown as error:
            return Outcome.DIGEST_UNKNOWN, str(error).encode()
        except InputRejected as error:
            return Outcome.MALFORMED, str(error).encode()
        except Overloaded as error:
            return Outcome.UNAVAILABLE, error.message.encode()
        except SealmintError as error:
            self._log.error("not-answered", error=type(error).__name__, message=str(error))
            if self._pool.ended is not None:
                self.ended = self._pool.ended
                self.stopping.set()
            return Outcome.UNAVAILABLE, b"the feed cannot be signed at present"


async def _cancel_when_gone(stream: trio.SocketStream, answering: trio.CancelScope) -> None:
    while await stream.receive_some():
        pass  # nothing follows a question
    answering.cancel()


async def serve(service: Service) -> None:
    """Sign pieces of the feed until told to stop.

    Raises:
        ToBeReplaced: the token is away at the start, or sessions are stuck for good.
        TokenError: the token refuses for good.
        ConfigurationInvalid: the socket cannot be listened at.
        HomeUnusable: another publisher is at work on this home.
    """
    context = service.context
    pin = await service.pin()
    with context.home.lock(LOCK, "signing the feed"):
        async with journalling(service, FEED) as journal:
            try:
                ended = await _sign(service, pin, journal)
            except (SignerUnavailable, PoolExhausted) as error:
                ended = ToBeReplaced.because_of(error)
    if isinstance(ended, PoolExhausted):
        ended = ToBeReplaced.because_of(ended)
    if ended is not None:
        raise ended


async def _sign(service: Service, pin: Pin, journal: DigestJournal) -> TokenError | None:
    """Open the operations key and sign; return what ended it, None when told to stop."""
    context = service.context
    operations = context.authority.operations
    try:
        token = await trio.to_thread.run_sync(open_token, context.home, context.configuration)
    except TokenError as error:  # nobody has logged in yet, so trying again costs no attempt at the PIN
        raise ToBeReplaced.because_of(error) from error
    await trio.to_thread.run_sync(prove_key, token, pin, operations)
    async with open_pool(context.home, context.configuration, token, pin, [operations.key], 1) as pool:
        sign = journalled(_signer(pool, operations.key), journal)
        publisher = FeedPublisher(
            FeedAnswers(context, sign, context.clock), pool, service.log, service.metrics
        )
        with observe_pool(service.control, pool, context):
            await _run(service, publisher, journal)
    return publisher.ended


def _signer(pool: SessionPool, key: KeyReference) -> Sign:
    async def sign(message: bytes) -> bytes:
        (outcome,) = await pool.sign_many([message], key=key, algorithm=AUTHORITY_ALGORITHM, lane=Lane.URGENT)
        if isinstance(outcome, TokenError):
            raise outcome
        return outcome

    return sign


async def _run(service: Service, publisher: FeedPublisher, journal: DigestJournal) -> None:
    path = Path(service.context.configuration.feed.socket)
    try:
        listener = listen_unix(path, BACKLOG)
    except OSError as error:
        raise ConfigurationInvalid(
            "the feed publisher cannot listen here", place=str(path), value=error.strerror
        ) from error
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_recording, journal, service.log)
        nursery.start_soon(_stop, service, publisher)
        service.log.info("listening", address=str(path))
        await publisher.serve(listener)
        nursery.cancel_scope.cancel()


async def _stop(service: Service, publisher: FeedPublisher) -> None:
    await service.stop.wait()
    publisher.stopping.set()


if __name__ == "__main__":
    run_service("feed-publisher", serve)
