"""The processes of a sweep, seen from the sweep: started when first needed, kept, and told what to measure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from pydantic import SecretStr

from engine.algorithms import SignatureAlgorithm
from engine.capacity import sweep_messages as messages
from engine.capacity.points import Latency, Shape, Slice
from engine.errors import SignerFailed, SignerUnavailable
from engine.home import Home
from engine.pkcs11.pin import Pin
from engine.worker_pipes import encode, lines

WORKER_COMMAND = (sys.executable, "-P", "-m", "engine.capacity.sweep_worker")
"""-P: what lies in the current directory must not be taken for our modules."""

GRACE_SECONDS = 10.0
"""How long a process whose pipe is closed may take to end before it is killed. A guess."""


@dataclass(frozen=True, slots=True)
class SliceOrder:
    """One slice to measure.

    Attributes:
        shape: processes, sessions and batch.
        text: from the number of a process, what its messages begin with.
        each: messages that every process may sign.
        warm_up_seconds: before the measuring.
        seconds: of measuring.
    """

    shape: Shape
    text: Callable[[int], str]
    each: int
    warm_up_seconds: float
    seconds: float


@dataclass(slots=True)
class SweepProcess:
    """A process of a sweep and its pipes."""

    process: trio.Process
    stdin: trio.abc.SendStream
    lines: AsyncGenerator[bytes, None]
    signed: int | None = 0
    """Messages given to the token in the last slice; None while that is not known."""

    async def tell(self, message: messages.Prepare | messages.Measure) -> None:
        """Send a message; that the process is gone shows when its answer is awaited."""
        try:
            await self.stdin.send_all(encode(message))
        except trio.BrokenResourceError:
            return

    async def answer(self) -> messages.Ready | messages.Measured:
        """Wait for the process's next message.

        Raises:
            SignerFailed: it failed, with what it said.
            SignerUnavailable: it died without a word.
        """
        line = await anext(self.lines, None)
        if line is None:
            raise SignerUnavailable("a process of the sweep died", place=f"process {self.process.pid}")
        said = messages.from_worker.validate_json(line)
        if isinstance(said, messages.Failed):
            self.signed = said.signed
            raise SignerFailed(said.text, place=f"process {self.process.pid} of the sweep", value=said.error)
        return said


class SweepCrew:
    """The processes of a sweep. Made by `open_crew`."""

    def __init__(self, start: messages.Start) -> None:
        self._start = start
        self.processes: list[SweepProcess] = []

    async def measure(self, order: SliceOrder, round_number: int) -> Slice:
        """Measure one slice; every process opens its sessions first, then all begin.

        If cancelled, the processes do not fit their pipes any more: the crew must be closed.

        Raises:
            SignerFailed: the token refused, or a process failed.
            SignerUnavailable: a process died.
        """
        counts = order.shape.of_each_worker()
        await self._start_missing(len(counts))
        crew = self.processes[: len(counts)]
        for process, sessions in zip(crew, counts, strict=True):
            process.signed = 0
            await process.tell(messages.Prepare(sessions=sessions))
        for process in crew:
            await process.answer()
        for number, process in enumerate(crew):
            process.signed = None
            await process.tell(_measure(order, number))
        return _slice_of([await _measured(process) for process in crew], round_number)

    def signed(self, workers: int) -> list[int | None]:
        """Return how many messages each of the first processes gave to the token in the last slice."""
        return [process.signed for process in self.processes[:workers]]

    async def _start_missing(self, count: int) -> None:
        while len(self.processes) < count:
            process = await trio.lowlevel.open_process(
                WORKER_COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at the terminal is for the sweep, which closes the pipes
            )
            stdin, stdout = process.stdin, process.stdout
            if stdin is None or stdout is None:
                raise RuntimeError("a process started with pipes has pipes")
            self.processes.append(SweepProcess(process, stdin, lines(stdout)))
            await stdin.send_all(messages.encode_start(self._start))
            await self.processes[-1].answer()

    async def close(self) -> None:
        """Close the pipes and wait for the processes; one that a call to the token keeps is killed."""
        for process in self.processes:
            await process.stdin.aclose()
        with trio.move_on_after(GRACE_SECONDS):
            for process in self.processes:
                await process.process.wait()
        for process in self.processes:
            if process.process.returncode is None:
                process.process.kill()
                await process.process.wait()
            await process.lines.aclose()
            if process.process.stdout is not None:
                await process.process.stdout.aclose()


@asynccontextmanager
async def open_crew(
    home: Home, pin: Pin, key: str, algorithm: SignatureAlgorithm
) -> AsyncIterator[SweepCrew]:
    """Give a crew without processes; all that it started are gone when the block has ended.

    Args:
        home: the home.
        pin: the token's PIN, which goes over the pipes.
        key: the label of the key.
        algorithm: the signature algorithm.
    """
    secret = SecretStr(pin.reveal().decode())
    start = messages.Start(home=str(home.path), key=key, algorithm=algorithm, pin=secret)
    crew = SweepCrew(start)
    try:
        yield crew
    finally:
        with trio.CancelScope(shield=True):
            await crew.close()


async def _measured(process: SweepProcess) -> messages.Measured:
    said = await process.answer()
    if not isinstance(said, messages.Measured):
        raise SignerFailed("a process of the sweep did not measure", place=f"process {process.process.pid}")
    process.signed = said.signed
    return said


def _measure(order: SliceOrder, number: int) -> messages.Measure:
    return messages.Measure(
        text=order.text(number),
        limit=order.each,
        batch=order.shape.batch,
        warm_up_seconds=order.warm_up_seconds,
        seconds=order.seconds,
    )


def _slice_of(measured: list[messages.Measured], round_number: int) -> Slice:
    signatures = sum(one.signatures for one in measured)
    return Slice(
        round=round_number,
        seconds=max(one.seconds for one in measured),
        per_second=sum(one.signatures / one.seconds for one in measured),
        call=_over_processes([(one.call, one.signatures) for one in measured]),
        wait=_over_processes([(one.wait, one.signatures) for one in measured]),
        cpu_microseconds=sum(one.cpu_seconds for one in measured) * 1e6 / max(signatures, 1.0),
    )


def _over_processes(parts: list[tuple[messages.Durations, float]]) -> Latency:
    """The mean over all signatures; of the percentiles the largest: no process was slower."""
    whole = sum(count for _, count in parts)
    return Latency(
        sum(one.mean_ms * count for one, count in parts) / max(whole, 1e-9),
        max(one.p50_ms for one, _ in parts),
        max(one.p95_ms for one, _ in parts),
        max(one.p99_ms for one, _ in parts),
    )
