"""The live signer behind its sockets: admits, signs, answers, each bounded.

What cannot be answered soon is answered tryLater now: no room, no token, no audit. An answer goes out as soon as its
own signature is there, whatever order they were asked in.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import trio

from engine.audit.digest_journal import DigestJournal
from engine.config import OcspSection
from engine.errors import (
    Overloaded,
    SealmintError,
    SignatureInvalid,
    SignerUnavailable,
    StoreError,
    TokenError,
)
from engine.json_log import Log, bound, request_name
from engine.metrics.registry import Metrics
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.live_signing.frames import NO_ROOM, Frames
from responders.live_signing.live_answers import LiveAnswers, ToSign
from responders.live_signing.live_counts import LiveCounts, WhyLater
from responders.live_signing.signing_queue import SigningQueue, Waiting
from responders.ocsp_request import MAX_REQUEST_OCTETS

MAX_CONNECTIONS = 64
"""Responder processes that are served at once; more are closed at once. A guess: some hosts of some processes."""

SHARE_OF_TIMEOUT = 0.8
"""How much of `[ocsp].live_timeout` an answer may take here: the caller still gets word before it gives up. A guess."""

_ERRORS: dict[ResponseStatus, bytes] = {
    status: error_response(status) for status in ResponseStatus if status is not ResponseStatus.SUCCESSFUL
}


class LiveSigningServer:
    """Answers responders over their connections.

    Args:
        answers: makes of a request what is to be signed.
        queue: has it signed.
        journal: tells whether anything may be signed.
        settings: `[ocsp]`.
        log: told what went wrong.
        metrics: of the process; None = what is counted is for nobody.

    Attributes:
        ended: the error with which the pool ended, once it has: the process must go.
        stopping: set when it has; whoever runs the server stops it then.
    """

    def __init__(
        self,
        answers: LiveAnswers,
        queue: SigningQueue,
        journal: DigestJournal,
        settings: OcspSection,
        log: Log,
        metrics: Metrics | None = None,
    ) -> None:
        self.ended: TokenError | None = None
        self.stopping = trio.Event()
        self._answers = answers
        self._queue = queue
        self._journal = journal
        self._patience = settings.live_timeout * SHARE_OF_TIMEOUT
        self._readings: set[trio.CancelScope] = set()
        self._log = log
        self._counts = LiveCounts(metrics or Metrics(), queue)

    async def serve(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Serve until `stopping` is set; then take nothing new, and answer what was asked.

        Cancelled, it leaves callers without an answer, but no signature without its journal line.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queue.run)
            async with trio.open_nursery() as connections:
                accepting = await connections.start(self._accept, listeners, connections)
                await self.stopping.wait()
                accepting.cancel()
                for reading in list(self._readings):
                    reading.cancel()
            nursery.cancel_scope.cancel()

    async def _accept(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        connections: trio.Nursery,
        task_status: trio.TaskStatus[trio.CancelScope],
    ) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await trio.serve_listeners(self._connection, list(listeners), handler_nursery=connections)

    async def _connection(self, stream: trio.abc.Stream) -> None:
        if len(self._readings) >= MAX_CONNECTIONS or self.stopping.is_set():
            await trio.aclose_forcefully(stream)
            return
        frames = Frames(stream, most_octets=MAX_REQUEST_OCTETS, patience=self._patience)
        reading = trio.CancelScope()
        self._readings.add(reading)
        try:
            await self._shake_hands(stream)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(frames.write)
                async with trio.open_nursery() as signing:
                    with reading:
                        await self._read(frames, signing)
                        signing.cancel_scope.cancel()  # whoever asked is gone
                frames.finish()
        except* (trio.BrokenResourceError, trio.TooSlowError) as broken:
            self._log.warning("connection-broken", message=str(broken.exceptions[0]))
        finally:
            self._readings.discard(reading)
            with trio.move_on_after(self._patience, shield=True):
                await stream.aclose()

    async def _shake_hands(self, stream: trio.abc.Stream) -> None:
        if isinstance(stream, trio.SSLStream):
            with trio.fail_after(self._patience):
                await stream.do_handshake()

    async def _read(self, frames: Frames, signing: trio.Nursery) -> None:
        while (frame := await frames.receive()) is not None:
            number, request = frame
            began = perf_counter()
            if self._queue.is_full:
                self._refuse(began)
                await frames.send(number, NO_ROOM)
                continue
            begun = self._begin(request)
            if isinstance(begun, Waiting):
                signing.start_soon(self._finish, frames, number, request, begun, began)
            else:
                self._counts.answered(begun, began)
                await frames.send(number, _ERRORS[begun])

    def _refuse(self, began: float) -> None:
        self._counts.refused(began)
        self._counts.answered(self._counts.later(WhyLater.FULL), began)

    def _begin(self, request: bytes) -> Waiting | ResponseStatus:
        if not self._journal.can_sign:
            return self._counts.later(WhyLater.JOURNAL)
        prepared = self._answers.prepare(request)
        if isinstance(prepared, ToSign):
            return self._queue.put(prepared)
        return self._counts.later(WhyLater.STATUS) if prepared is ResponseStatus.TRY_LATER else prepared

    async def _finish(
        self, frames: Frames, number: int, request: bytes, waiting: Waiting, began: float
    ) -> None:
        signed: bytes | ResponseStatus | None = None
        with trio.move_on_after(self._patience):
            signed = await self._signed(request, waiting, began)
        if signed is None:
            signed = self._counts.later(WhyLater.LATE)
        if isinstance(signed, ResponseStatus):
            self._counts.answered(signed, began)
            await frames.send(number, _ERRORS[signed])
        else:
            self._counts.answered(ResponseStatus.SUCCESSFUL, began)
            await frames.send(number, signed)

    async def _signed(self, request: bytes, waiting: Waiting, began: float) -> bytes | ResponseStatus:
        try:
            response = waiting.to_sign.signed(await self._queue.signature(waiting))
        except Overloaded:  # the lane of the pool
            self._counts.refused(began)
            return self._counts.later(WhyLater.FULL)
        except SignerUnavailable:  # the token is away, which the pool tells by its own means
            return self._counts.later(WhyLater.TOKEN)
        except TokenError as error:
            self._token_refused(request, error)
            return self._counts.later(WhyLater.TOKEN)
        except StoreError as error:  # the journal
            self._not_signed(request, error)
            return self._counts.later(WhyLater.JOURNAL)
        except SignatureInvalid as error:
            self._not_signed(request, error)
            return ResponseStatus.INTERNAL_ERROR
        # A withdrawal does not wait for a slow token: what it overtook does not go out.
        return (
            response if self._answers.still_holds(waiting.to_sign) else self._counts.later(WhyLater.OVERTAKEN)
        )

    def _not_signed(self, request: bytes, error: SealmintError) -> None:
        with bound(request=request_name(request)):
            self._log.error("not-signed", error=type(error).__name__, message=str(error))

    def _token_refused(self, request: bytes, error: TokenError) -> None:
        if self._queue.ended is None:
            self._not_signed(request, error)
        else:
            self.end(self._queue.ended)

    def end(self, error: TokenError) -> None:
        """Stop, because the process must go. The first error stands."""
        self.ended = self.ended or error
        self.stopping.set()
