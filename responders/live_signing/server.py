"""The live signer behind its sockets: admits, signs, answers, each bounded.

What cannot be answered soon is answered tryLater now: no room, no token, no audit. An answer goes out as soon as its
own signature is there, whatever order they were asked in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import structlog
import trio

from engine.algorithms import SignatureAlgorithm
from engine.config import OcspSection
from engine.errors import (
    Overloaded,
    SealmintError,
    SignatureInvalid,
    SignerUnavailable,
    StoreError,
    TokenError,
)
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.live_signing.digest_journal import DigestJournal
from responders.live_signing.frames import Frames
from responders.live_signing.live_answers import LiveAnswers, ToSign
from responders.ocsp_request import MAX_REQUEST_OCTETS

MAX_CONNECTIONS = 64
"""Responder processes that are served at once; more are closed at once. A guess: some hosts of some processes."""

SHARE_OF_TIMEOUT = 0.8
"""How much of `[ocsp].live_timeout` an answer may take here: the caller still gets word before it gives up. A guess."""

_ERRORS: dict[ResponseStatus, bytes] = {
    status: error_response(status) for status in ResponseStatus if status is not ResponseStatus.SUCCESSFUL
}


class Signing(Protocol):
    """What a `SessionPool` does, as far as it is needed here."""

    size: int

    @property
    def ended(self) -> TokenError | None:
        """Why it takes no more work, if so."""
        ...

    async def sign_many(
        self, messages: Sequence[bytes], *, key: KeyReference, algorithm: SignatureAlgorithm, lane: Lane
    ) -> list[bytes | TokenError]:
        """Sign messages; one outcome each."""
        ...


class LiveSigningServer:
    """Answers responders over their connections.

    Args:
        answers: makes of a request what is to be signed.
        pool: signs it.
        journal: accounts for it.
        settings: `[ocsp]`.
        log: told what went wrong.

    Attributes:
        ended: the error with which the pool ended, once it has: the process must go.
        stopping: set when it has; whoever runs the server stops it then.
    """

    def __init__(
        self,
        answers: LiveAnswers,
        pool: Signing,
        journal: DigestJournal,
        settings: OcspSection,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.ended: TokenError | None = None
        self.stopping = trio.Event()
        self._answers = answers
        self._pool = pool
        self._journal = journal
        self._patience = settings.live_timeout * SHARE_OF_TIMEOUT
        self._most_admitted = settings.live_waiting + pool.size
        self._admitted = 0
        self._readings: set[trio.CancelScope] = set()
        self._log = log

    async def serve(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Serve until `stopping` is set; then take nothing new, and answer what was asked.

        Cancelled, it leaves callers without an answer, but no signature without its journal line.
        """
        async with trio.open_nursery() as nursery:
            accepting = await nursery.start(self._accept, listeners, nursery)
            await self.stopping.wait()
            accepting.cancel()
            for reading in list(self._readings):
                reading.cancel()

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
            begun = self._begin(request)
            if isinstance(begun, ToSign):
                self._admitted += 1
                signing.start_soon(self._finish, frames, number, begun)
            else:
                await frames.send(number, _ERRORS[begun])

    def _begin(self, request: bytes) -> ToSign | ResponseStatus:
        if self._admitted >= self._most_admitted or not self._journal.can_sign:
            return ResponseStatus.TRY_LATER
        return self._answers.prepare(request)

    async def _finish(self, frames: Frames, number: int, to_sign: ToSign) -> None:
        response = _ERRORS[ResponseStatus.TRY_LATER]
        try:
            with trio.move_on_after(self._patience):
                response = await self._sign(to_sign)
        finally:
            self._admitted -= 1
        await frames.send(number, response)

    async def _sign(self, to_sign: ToSign) -> bytes:
        try:
            self._journal.add(hashlib.new(to_sign.algorithm.hash_name, to_sign.tbs).digest())
            (outcome,) = await self._pool.sign_many(
                [to_sign.tbs], key=to_sign.responder.key, algorithm=to_sign.algorithm, lane=Lane.URGENT
            )
            if isinstance(outcome, TokenError):
                raise outcome
            return to_sign.signed(outcome)
        except (Overloaded, SignerUnavailable):  # the token is away, which the pool tells by its own means
            return _ERRORS[ResponseStatus.TRY_LATER]
        except TokenError as error:
            self._token_refused(error)
            return _ERRORS[ResponseStatus.TRY_LATER]
        except StoreError as error:  # the journal
            self._not_signed(error)
            return _ERRORS[ResponseStatus.TRY_LATER]
        except SignatureInvalid as error:
            self._not_signed(error)
            return _ERRORS[ResponseStatus.INTERNAL_ERROR]

    def _not_signed(self, error: SealmintError) -> None:
        self._log.error("not-signed", error=type(error).__name__, message=str(error))

    def _token_refused(self, error: TokenError) -> None:
        if self._pool.ended is None:
            self._not_signed(error)
        else:
            self.end(self._pool.ended)

    def end(self, error: TokenError) -> None:
        """Stop, because the process must go. The first error stands."""
        self.ended = self.ended or error
        self.stopping.set()
