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

import trio

from engine.audit.log import check_clock
from engine.authority.context import AuthorityContext
from engine.authority.observed import observed
from engine.authority.role_certificates import load_authority
from engine.authority.signing import PIN_PROMPT, read_pin
from engine.clock import SystemClock
from engine.config import load_configuration
from engine.control.server import ControlServer
from engine.errors import HomeUnusable, SealmintError, the_sealmint_error
from engine.fault_points import arm
from engine.home import Home
from engine.interpreter import settle_for_signing
from engine.json_log import Log, json_log
from engine.metrics.process import count_log_lines
from engine.metrics.registry import Metrics
from engine.pkcs11.pin import Pin
from engine.process_hardening import forbid_cores
from engine.store.database import open_store


@dataclass(frozen=True, slots=True)
class Service:
    """What a service process is given."""

    name: str
    context: AuthorityContext
    log: Log
    stop: trio.Event
    """Set when the process is to stop; what is in hand is finished."""
    arguments: argparse.Namespace
    control: ControlServer
    """Over which it is looked at and steered."""
    standard_input: StandardInput

    @property
    def metrics(self) -> Metrics:
        """What the process counts."""
        return self.control.metrics

    async def pin(self) -> Pin:
        """Return the token's PIN: the first line of standard input where a person typed it, else from its file.

        Raises:
            HomeUnusable: standard input has no such line.
        """
        if self.context.configuration.token.pin_file == PIN_PROMPT:
            return Pin((await self.standard_input.first_line()).decode())
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
        name: of the service, in its log, in the audit log and among running processes, unless `--name` says another.
        serve: does the work; returns soon after the service's `stop` is set.
        add_arguments: adds the arguments that this service takes beside the home.
    """
    forbid_cores()
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", default=name)
    add_arguments(parser)
    arguments = parser.parse_args()
    metrics = Metrics()
    log = json_log(arguments.name, counted=count_log_lines(metrics))
    settle_for_signing()
    try:
        trio.run(_run, arguments, log, metrics, serve)
    except (SealmintError, BaseExceptionGroup) as raised:
        error = the_sealmint_error(raised)
        log.error("ended", error=type(error).__name__, message=str(error))
        sys.exit(error.exit_code)


async def _run(
    arguments: argparse.Namespace, log: Log, metrics: Metrics, serve: Callable[[Service], Awaitable[None]]
) -> None:
    home, name = Home(arguments.home), arguments.name
    configuration = load_configuration(home.path)
    arm(configuration.fault_points.kill, Path(configuration.fault_points.marks))
    store = open_store(configuration.store.url, must_exist=True)
    clock = SystemClock()
    try:
        with store.read() as connection:
            check_clock(connection, clock)
        authority = load_authority(home, configuration)
        context = AuthorityContext(home, configuration, store, clock, authority, f"process {name}")
        standard_input = StandardInput()
        async with (
            stopped_from_outside(standard_input) as stop,
            observed(configuration, name, metrics, log) as control,
        ):
            await serve(Service(name, context, log, stop, arguments, control, standard_input))
    finally:
        store.close()


class StandardInput:
    """What whoever started this process writes to it; it has one reader, so that no line is swallowed by another."""

    def __init__(self) -> None:
        self._read = bytearray()
        self._has_line = trio.Event()

    async def first_line(self) -> bytes:
        """Return the first line, without its end, as soon as it is there.

        Raises:
            HomeUnusable: it is a terminal, has ended, or its first line is empty.
        """
        if not os.isatty(0):
            await self._has_line.wait()
        line = bytes(self._read.partition(b"\n")[0])
        if not line:
            raise HomeUnusable("nobody gave this process the PIN; start it with: sealmint serve")
        return line

    async def read_until_end(self) -> None:
        """Read until whoever started this process is gone; only the first line is kept. May be cancelled."""
        while octets := await trio.to_thread.run_sync(os.read, 0, 4_096, abandon_on_cancel=True):
            if not self._has_line.is_set():
                self._read += octets
            if b"\n" in self._read:
                self._has_line.set()
        self._has_line.set()


@asynccontextmanager
async def stopped_from_outside(standard_input: StandardInput | None = None) -> AsyncIterator[trio.Event]:
    """Yield an event that SIGTERM, SIGINT or the end of standard input sets.

    Args:
        standard_input: where its first line is wanted too.
    """
    stop = trio.Event()
    standard_input = standard_input or StandardInput()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:

        async def signals() -> None:
            async for _ in received:
                stop.set()

        async def starter() -> None:
            await standard_input.read_until_end()
            stop.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(signals)
            if not os.isatty(0):
                nursery.start_soon(starter)
            yield stop
            nursery.cancel_scope.cancel()
