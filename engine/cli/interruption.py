"""Ctrl-C, and a polite end: the first signal asks to stop, and says so; the work in hand is finished."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from engine.cli.output import errors


@asynccontextmanager
async def stopped_by_signals() -> AsyncIterator[trio.Event]:
    """Yield an event that SIGINT or SIGTERM sets."""
    stop = trio.Event()
    # The receiver outside: an error of the block ends the listening task before the receiver is closed under it.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:

        async def listen() -> None:
            async for _ in received:
                if not stop.is_set():
                    errors.print("stopping: the units in hand are finished first")
                stop.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            yield stop
            nursery.cancel_scope.cancel()
