"""The live signer as a responder process sees it: one connection, kept up, and an answer within a bound always."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from engine.config import OcspSection
from engine.metrics.catalogue import LIVE_CLIENT_TRY_LATER, LIVE_CONNECTED, LIVE_PENDING
from engine.metrics.registry import Metrics
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.live_signing.frames import MAX_RESPONSE_OCTETS, NO_ROOM, NUMBERS, Frames
from responders.live_signing.streams import open_stream

TRY_LATER = error_response(ResponseStatus.TRY_LATER)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between attempts to connect, doubling from the first to the longest. A guess: a restarted signer is found
soon, and one that is away costs nothing to speak of."""

ROOM_REGAINED = 1 / 16
"""How much more than the signer last had room for is tried, for each answer of its. A guess: for sixteen answers one
request goes to find out that there still is no more; where there is more, it is taken up within seconds."""


class _Waiting:
    """Somebody who waits for an answer."""

    def __init__(self, connection: trio.CancelScope) -> None:
        self.connection = connection
        self.came = trio.Event()
        self.response = TRY_LATER


class LiveSigner:
    """Asks the live signer. Made by `open_live_signer`; for one event loop.

    Args:
        settings: where it is, how many may wait, and how long.
        metrics: of the process.
    """

    def __init__(self, settings: OcspSection, metrics: Metrics) -> None:
        self._settings = settings
        self._away, self._full, self._timeout = (
            metrics.counter(LIVE_CLIENT_TRY_LATER, reason=reason) for reason in ("away", "full", "timeout")
        )
        connected, pending = metrics.gauge(LIVE_CONNECTED), metrics.gauge(LIVE_PENDING)

        def look() -> None:
            connected.set(self.is_connected)
            pending.set(len(self._waiting))

        metrics.before_reading(look)
        self._most_waiting = settings.live_waiting
        self._room: float = settings.live_waiting
        self._waiting: dict[int, _Waiting] = {}
        self._next_number = 0
        self._frames: Frames | None = None
        self._connection = trio.CancelScope()
        self.attempted = trio.Event()  # to connect, with or without success

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._frames is not None

    async def ask(self, request: bytes) -> bytes:
        """Return the OCSPResponse to a request.

        It is tryLater at once when the signer is away or as many wait already as may, and after `[ocsp].live_timeout`
        when no answer came. How many may wait is `[ocsp].live_waiting`, or what the signer last had room for besides
        what other processes ask: a refusal that is known beforehand needs no way there and back. Cancelled, it forgets
        the request; the signer may sign all the same.
        """
        frames = self._frames
        if frames is None or len(self._waiting) >= self._room:
            (self._away if frames is None else self._full).add()
            return TRY_LATER
        number = self._next_number
        self._next_number = (number + 1) % NUMBERS
        waiting = self._waiting[number] = _Waiting(self._connection)
        try:
            with trio.move_on_after(self._settings.live_timeout) as patience:
                await frames.send(number, request)
                await waiting.came.wait()
            if patience.cancelled_caught:
                self._timeout.add()
                # The signer itself gives up sooner than that and says so: this connection leads nowhere.
                waiting.connection.cancel()
        finally:
            del self._waiting[number]
        return waiting.response

    async def run(self) -> None:
        """Keep the connection up until cancelled.

        Raises:
            ConfigurationInvalid: the address or a certificate file is wrong.
        """
        pause = FIRST_PAUSE
        while True:
            stream = await self._opened()
            if stream is not None and await self._use(stream):
                pause = FIRST_PAUSE
            self.attempted.set()
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _opened(self) -> trio.abc.Stream | None:
        try:
            with trio.fail_after(self._settings.live_timeout):
                return await open_stream(self._settings)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return None

    async def _use(self, stream: trio.abc.Stream) -> bool:
        """Serve a connection until it ends; return whether anything came over it (TLS refuses only after a while)."""
        connection, frames = (
            trio.CancelScope(),
            Frames(stream, most_octets=MAX_RESPONSE_OCTETS, patience=self._settings.live_timeout),
        )
        received = False
        try:
            with connection:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(frames.write)
                    self._frames, self._connection, self._room = frames, connection, self._most_waiting
                    self.attempted.set()
                    while (frame := await frames.receive()) is not None:
                        received = True
                        self._settle(*frame)
                    nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass  # it is gone, which is all there is to know
        finally:
            self._frames = None
            for waiting in self._waiting.values():
                if waiting.connection is connection:
                    waiting.came.set()
            await trio.aclose_forcefully(stream)
        return received

    def _settle(self, number: int, response: bytes) -> None:
        waiting = self._waiting.get(number)
        if response == NO_ROOM:
            self._room = max(1, len(self._waiting) - 1)
            response = TRY_LATER
        else:
            self._room = min(self._most_waiting, self._room + ROOM_REGAINED)
        if waiting is not None:  # else whoever asked is gone
            waiting.response = response
            waiting.came.set()


@asynccontextmanager
async def open_live_signer(
    settings: OcspSection, metrics: Metrics | None = None
) -> AsyncIterator[LiveSigner | None]:
    """Keep a connection to the live signer while the block runs.

    Args:
        settings: `[ocsp]`.
        metrics: of the process; None = what is counted is for nobody.

    Yields:
        The live signer, after the first attempt to reach it; None where none is configured.

    Raises:
        ConfigurationInvalid: the address or a certificate file is wrong (in a group).
    """
    if settings.live_signer is None:
        yield None
        return
    signer = LiveSigner(settings, metrics or Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signer.run)
        await signer.attempted.wait()
        yield signer
        nursery.cancel_scope.cancel()
