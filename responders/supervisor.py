"""Keeps the processes of several stages: starts all, replaces the last stage by plan, stops stage after stage."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Sequence

import structlog
import trio

from engine.errors import HomeUnusable
from responders.supervised_process import Log, ProcessPlan, SupervisedProcess

Stages = Sequence[Sequence[ProcessPlan]]
"""Those of a stage are stopped together, the last stage first."""


class Supervisor:
    """Keeps processes.

    Args:
        stages: those of the last one answer: they are waited for, and replaced by plan.
        pin: the PIN as it was typed, or nothing.

    Attributes:
        stopped: set when all have stopped.
    """

    def __init__(self, stages: Stages, pin: bytes = b"") -> None:
        log = _logger()
        self._stages = [[SupervisedProcess(plan, pin, log) for plan in stage] for stage in stages]
        self._front = self._stages[-1]
        self._replacing = trio.Lock()
        self._stopping = trio.Event()
        self.stopped = trio.Event()

    async def run(self) -> None:
        """Keep all processes until stopped. Cancelled, it lets go of them all at once, and they stop by themselves."""
        async with trio.open_nursery() as nursery:
            for stage in self._stages:
                for process in stage:
                    nursery.start_soon(process.keep)

    async def wait_ready(self) -> bool:
        """Wait until all that answer are ready; False when stopped before.

        Raises:
            HomeUnusable: one of them cannot be started; all have been stopped.
        """
        with trio.CancelScope() as waiting:
            async with trio.open_nursery() as nursery:
                for process in self._front:
                    nursery.start_soon(self._stop_if_given_up, process)
                nursery.start_soon(self._cancel_when_stopping, waiting)
                for process in self._front:
                    await process.ready.wait()
                nursery.cancel_scope.cancel()
            return True
        await self.stopped.wait()
        for process in self._front:
            if process.given_up.is_set():
                raise HomeUnusable("a process cannot be started; it said why", value=process.plan.name)
        return False

    async def _stop_if_given_up(self, process: SupervisedProcess) -> None:
        await process.given_up.wait()
        await self.stop()

    async def _cancel_when_stopping(self, waiting: trio.CancelScope) -> None:
        await self._stopping.wait()
        waiting.cancel()

    async def replace(self) -> None:
        """Replace the processes that answer, one after the other, and start again what was given up."""
        async with self._replacing:
            for stage in self._stages:
                for process in stage:
                    if self._stopping.is_set():
                        return
                    if stage is self._front or process.given_up.is_set():
                        await process.replace()

    async def heed(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Replace on SIGHUP, stop on any other signal. Runs until cancelled.

        Args:
            signals: as they come.
            nursery: what a signal asks for is done there, so that the next one is heard meanwhile.
        """
        async for number in signals:
            nursery.start_soon(self.replace if number == signal.SIGHUP else self.stop)

    async def stop(self) -> None:
        """Stop all processes, the last stage first."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        with trio.CancelScope(shield=True):  # each has a bound of its own
            for stage in reversed(self._stages):
                async with trio.open_nursery() as nursery:
                    for process in stage:
                        nursery.start_soon(process.stop)
        self.stopped.set()


def _logger() -> Log:
    """Return a log in JSON lines on standard error, as the processes have it."""
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        process="supervisor",
    )
    return log
