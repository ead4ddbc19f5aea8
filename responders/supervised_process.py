"""A process that the supervisor keeps: started, started again when it dies, replaced by plan, stopped.

It is held by a pipe on its standard input, which ends with the supervisor, however that ends.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import structlog
import trio

from engine.authority.back_off import BackOff
from engine.errors import ConfigurationInvalid, PinIncorrect
from responders.replacement import ToBeReplaced

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a process that died is started again: twice as long each time, less a random part. A guess."""

LONGEST_PAUSE_OF_A_SUCCESSOR = 2.0
"""Seconds, where a process asked for a successor (`ToBeReplaced`): it has waited for the token itself before. A guess:
live answers are to be back 5 s after the token."""

LIVED_WELL_SECONDS = 60.0
"""After this the next pause is the first again. A guess."""

STOPPING_SECONDS = 20.0
"""How long a process may take to stop. A guess: above what a listener gives its last connections."""

FINAL = frozenset({ConfigurationInvalid.exit_code, PinIncorrect.exit_code})
"""Exit codes after which nothing is tried again until somebody has looked: a token locks after a few wrong PINs."""

READY = b"ready\n"
"""With its line end: a process may write that by itself, and must not find the pipe closed."""

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """What is to be run.

    Attributes:
        name: for the log.
        command: the program and its arguments.
        descriptors: what it inherits.
        wants_pin: whether the PIN that was typed is its first line.
        says_ready: whether it says `ready` on standard output; all others speak on standard error only.
    """

    name: str
    command: tuple[str, ...]
    descriptors: tuple[int, ...] = ()
    wants_pin: bool = False
    says_ready: bool = False


def module_command(module: str, *arguments: object) -> tuple[str, ...]:
    """Return the command that runs a module of ours; -P: the current directory must not be taken for ours."""
    return (sys.executable, "-P", "-m", module, *map(str, arguments))


class SupervisedProcess:
    """One process and its successors.

    Args:
        plan: what is to be run.
        pin: the PIN as it was typed, or nothing.
        log: where its fate is told.

    Attributes:
        plan: the same.
        ready: set when it was ready for the first time.
        given_up: set while it is down after one of the codes in `FINAL`; `replace` starts it again.
    """

    def __init__(self, plan: ProcessPlan, pin: bytes, log: Log) -> None:
        self.plan = plan
        self.ready = trio.Event()
        self.given_up = trio.Event()
        self._first_line = pin + b"\n" if plan.wants_pin and pin else b""
        self._log = log.bind(of=plan.name)
        self._current: trio.Process | None = None
        self._successor: trio.Process | None = None
        self._stopping = trio.Event()
        self._wake = trio.Event()

    @property
    def pid(self) -> int | None:
        """The process at work."""
        return None if self._current is None else self._current.pid

    async def keep(self) -> None:
        """Run the process, and another in its place when it dies, until stopped.

        Cancelled, it takes the process its pipe, so that it stops by itself, and waits for that.
        """
        back_off = BackOff(FIRST_PAUSE, LONGEST_PAUSE)
        while not self._stopping.is_set():
            began = trio.current_time()
            code = await self._run()
            if self._stopping.is_set() or self._successor is not None:
                continue
            if code in FINAL:
                self._log.error("given-up", exit_code=code, remedy="put it right, then SIGHUP")
                self.given_up.set()
                await self._wake.wait()
                continue
            if trio.current_time() - began > LIVED_WELL_SECONDS:
                back_off.end()
            pause = back_off.next()
            if code == ToBeReplaced.exit_code:
                pause = min(pause, LONGEST_PAUSE_OF_A_SUCCESSOR)
            self._log.warning("died", exit_code=code, again_in_seconds=round(pause, 3))
            with trio.move_on_after(pause):
                await self._wake.wait()

    async def _run(self) -> int | None:
        """Run one process, or go on with the successor, to its end; return its exit code."""
        process, self._successor = self._successor, None
        if self._wake.is_set():
            self._wake = trio.Event()
        if self.given_up.is_set():
            self.given_up = trio.Event()
        is_new = process is None
        process = self._current = process or await self._start()
        try:
            if self._stopping.is_set():  # told while it was being started
                process.terminate()
            if is_new and await self._is_ready(process):
                self.ready.set()
            return await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._let_go(process)

    async def replace(self) -> None:
        """Start a successor, and stop the one at work when the successor is ready; if it never is, nothing changes."""
        if self._current is None or self._current.poll() is not None:
            self._wake.set()  # it is down: up with it
            return
        process = await self._start()
        is_ready = await self._is_ready(process)
        if not is_ready or self._stopping.is_set():
            reason = "told to stop" if is_ready else "the successor ended before it was ready"
            self._log.error("not-replaced", reason=reason)
            await self._let_go(process)
            return
        old, self._current, self._successor = self._current, process, process
        self._log.info("replaced", pid=process.pid, old=old.pid)
        await self._end(old)

    async def stop(self) -> None:
        """Stop the process and wait for its end; one that does not stop in time is killed."""
        self._stopping.set()
        self._wake.set()
        if self._current is not None:
            await self._end(self._current)

    async def _start(self) -> trio.Process:
        process = await trio.lowlevel.open_process(
            self.plan.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if self.plan.says_ready else sys.stderr,
            pass_fds=self.plan.descriptors,
            start_new_session=True,  # Ctrl-C at the terminal is for the supervisor, which stops them in their order
        )
        self._log.info("started", pid=process.pid)
        if self._first_line and process.stdin is not None:
            try:
                await process.stdin.send_all(self._first_line)
            except trio.BrokenResourceError:
                self._log.warning("died-before-the-pin", pid=process.pid)
        return process

    async def _is_ready(self, process: trio.Process) -> bool:
        """Wait until a process says that it is ready; False when it ends before. One that says nothing is ready."""
        if process.stdout is None:
            return True
        said = b""
        while READY not in said:
            part = await process.stdout.receive_some()
            if not part:
                return False
            said = (said + part)[-80:]
        return True

    async def _end(self, process: trio.Process) -> None:
        """Tell a process to stop, and wait for its end."""
        if process.poll() is None:
            process.terminate()
        await self._wait_or_kill(process)

    async def _let_go(self, process: trio.Process) -> None:
        """Close a process's pipes, which stops it if it has not ended, and wait for its end."""
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                await pipe.aclose()
        await self._wait_or_kill(process)

    async def _wait_or_kill(self, process: trio.Process) -> None:
        with trio.move_on_after(STOPPING_SECONDS):
            await process.wait()
            return
        self._log.error("killed", pid=process.pid, reason=f"it did not stop within {STOPPING_SECONDS} s")
        process.kill()
        await process.wait()
