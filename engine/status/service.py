"""A process that runs until it is told to stop: by SIGTERM or SIGINT, or because whoever started it is gone.

Started by `sealmint serve`, with a pipe on its standard input that ends when the supervisor does. It speaks in JSON
lines on standard error.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio

from engine.audit.log import check_clock
from engine.authority.context import AuthorityContext
from engine.authority.role_certificates import load_authority
from engine.authority.signing import PIN_PROMPT, read_pin
from engine.clock import SystemClock
from engine.config import load_configuration
from engine.errors import HomeUnusable, SealmintError, the_sealmint_error
from engine.home import Home
from engine.interpreter import settle_for_signing
from engine.pkcs11.pin import Pin
from engine.process_hardening import forbid_cores
from engine.store.database import open_store

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class Service:
    """What a service process is given."""

    name: str
    context: AuthorityContext
    log: Log
    stop: trio.Event
    """Set when the process is to stop; what is in hand is finished."""
    arguments: argparse.Namespace

    def pin(self) -> Pin:
        """Return the token's PIN: the first line of standard input where a person typed it, else from its file."""
        if self.context.configuration.token.pin_file == PIN_PROMPT:
            return Pin(_first_line().decode())
        return read_pin(self.context.configuration)

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the process is to stop."""
        with trio.move_on_after(seconds):
            await self.stop.wait()


def run_service(
    name: str,
    serve: Callable[[Service], Awaitable[None]],
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Run a service process to its end; exits with the status of the error that ended it, 0 without one.

    Args:
        name: of the service, in its log and in the audit log.
        serve: does the work; returns soon after the service's `stop` is set.
        add_arguments: adds the arguments that this service takes beside the home.
    """
    forbid_cores()
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--home", type=Path, required=True)
    add_arguments(parser)
    log = json_log(name)
    settle_for_signing()
    try:
        trio.run(_run, name, parser.parse_args(), log, serve)
    except (SealmintError, BaseExceptionGroup) as raised:
        error = the_sealmint_error(raised)
        log.error("ended", error=type(error).__name__, message=str(error))
        sys.exit(error.exit_code)


async def _run(
    name: str, arguments: argparse.Namespace, log: Log, serve: Callable[[Service], Awaitable[None]]
) -> None:
    home = Home(arguments.home)
    configuration = load_configuration(home.path)
    store = open_store(configuration.store.url, must_exist=True)
    clock = SystemClock()
    try:
        with store.read() as connection:
            check_clock(connection, clock)
        authority = load_authority(home, configuration)
        context = AuthorityContext(home, configuration, store, clock, authority, f"process {name}")
        async with stopped_from_outside() as stop:
            await serve(Service(name, context, log, stop, arguments))
    finally:
        store.close()


def json_log(name: str) -> Log:
    """Return a log in JSON lines on standard error.

    Args:
        name: of the process, in every line.
    """
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log: Log = structlog.get_logger(process=name, pid=os.getpid())
    return log


def _first_line() -> bytes:
    """Read a line of standard input octet by octet, so that nothing after it is swallowed."""
    line = bytearray()
    while (octet := os.read(0, 1)) not in (b"", b"\n"):
        line += octet
    if not line:
        raise HomeUnusable("nobody gave this process the PIN; start it with: sealmint serve")
    return bytes(line)


@asynccontextmanager
async def stopped_from_outside() -> AsyncIterator[trio.Event]:
    """Yield an event that SIGTERM, SIGINT or the end of standard input sets."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:

        async def signals() -> None:
            async for _ in received:
                stop.set()

        async def starter() -> None:
            while await trio.to_thread.run_sync(os.read, 0, 4_096, abandon_on_cancel=True):
                pass
            stop.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(signals)
            if not os.isatty(0):
                nursery.start_soon(starter)
            yield stop
            nursery.cancel_scope.cancel()
