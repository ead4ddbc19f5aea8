"""The supervisor of a run: starts worker processes, follows them, replaces the ones that die.

It holds the run's lock, so there is one supervisor a run on this host, and whatever an earlier one's workers still
hold is known to be held by the dead. The workers end by themselves when its pipes close.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.issuance import worker_messages as messages
from engine.store.database import Store
from engine.store.runs import RunState, run_state
from engine.store.work_units import count_open, release_holder

WORKER_COMMAND = (sys.executable, "-P", "-m", "engine.issuance.worker")
"""-P: what lies in the current directory must not be taken for our modules."""

REPLACEMENTS_WITHOUT_PROGRESS = 3
"""Workers replaced in a row without a unit completed, before the run is paused for a person to look. A guess."""

GRACE_SECONDS = 10.0
"""How long a worker that has said its last word may take to end before it is killed; and one that was told to stop
before it was ready, for the token may keep it from ever being so. A guess."""

STATE_POLL_SECONDS = 0.5
"""How soon `run pause` and `run abort`, given in another process, are noticed. Workers notice at their next unit;
this poll also reaches those that wait for a run window."""


@dataclass
class WorkReport:
    """What the workers of one start did and spent."""

    issued: int = 0
    failed: int = 0
    seconds: float = 0.0
    """From the first process started to the last one gone."""
    working_seconds: float = 0.0
    """From the first worker ready, its sessions open, to the last unit committed."""
    workers: list[messages.Finished] = field(default_factory=list)
    replaced: int = 0
    waiting_until: str | None = None
    error: str | None = None


Progress = Callable[[WorkReport], None]


@dataclass
class _Supervision:
    store: Store
    clock: Clock
    start: messages.Start
    host: str
    report: WorkReport
    progress: Progress
    stop: trio.Event
    ready_at: float | None = None
    pipes: set[trio.abc.SendStream] = field(default_factory=set)
    starting: set[trio.Process] = field(default_factory=set)
    """Workers that are not ready yet: they hold no unit."""
    deaths_in_a_row: int = 0


async def work_off(
    store: Store,
    clock: Clock,
    start: messages.Start,
    *,
    host: str,
    stop: trio.Event,
    progress: Progress,
) -> WorkReport:
    """Work a run off with worker processes until no unit is left, or it is stopped.

    Args:
        store: the open store; the run is running or being aborted, and its lock is held.
        clock: tells the time of leases and records.
        start: what the workers are told; the holder's name is set for each.
        host: this host's name: the beginning of the holders' names.
        stop: set by the caller to stop: units in hand are finished first.
        progress: called after every unit, in the trio thread.

    Returns:
        What was done. Its `error` says why the run could not go on, if it could not.

    Cancelled, it closes the workers' pipes, and kills those that have not finished the units in hand after
    `GRACE_SECONDS`; what such a one had reserved stays so, for the next start.
    """
    await trio.to_thread.run_sync(_release, store, clock, start.run_id, f"{host}:")
    report = WorkReport()
    supervision = _Supervision(store, clock, start, host, report, progress, stop)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_state, supervision)
        async with trio.open_nursery() as workers:
            for _ in range(start.workers):
                workers.start_soon(_keep_worker, supervision)
        nursery.cancel_scope.cancel()
    report.seconds = trio.current_time() - began
    return report


async def _watch_state(supervision: _Supervision) -> None:
    while not supervision.stop.is_set():
        with trio.move_on_after(STATE_POLL_SECONDS):
            await supervision.stop.wait()
        state = await trio.to_thread.run_sync(_state, supervision.store, supervision.start.run_id)
        wanted = {RunState.ABORTING} if supervision.start.draining else {RunState.RUNNING}
        if state not in wanted:
            supervision.stop.set()
    for pipe in list(supervision.pipes):  # a copy: workers come and go while one is closed
        await pipe.aclose()
    await trio.sleep(GRACE_SECONDS)
    for process in supervision.starting:
        process.kill()


async def _keep_worker(supervision: _Supervision) -> None:
    """Run one worker, and another in its place if it died and there is still work."""
    while not supervision.stop.is_set():
        last = await _one_worker(supervision)
        if isinstance(last, messages.Finished):
            return
        supervision.deaths_in_a_row += 1
        supervision.report.replaced += 1
        final = isinstance(last, messages.Failed) and not last.replace
        if final or supervision.deaths_in_a_row > REPLACEMENTS_WITHOUT_PROGRESS:
            supervision.report.error = (
                last.text if last is not None else "a worker process died again and again"
            )
            supervision.stop.set()
            return
        if not await trio.to_thread.run_sync(_open_units, supervision.store, supervision.start.run_id):
            return


async def _one_worker(supervision: _Supervision) -> messages.Finished | messages.Failed | None:
    """Start a worker and follow it to its end; None where it died without a word."""
    process = await trio.lowlevel.open_process(
        WORKER_COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C at the terminal is for the supervisor, which tells the workers
    )
    # Padded to the digits of the highest process number there is (proc(5), pid_max: 2^22): holders are released
    # by the beginning of their names, and no name may be the beginning of another.
    holder = f"{supervision.host}:{process.pid:07d}"
    supervision.starting.add(process)
    try:
        last = await _follow(supervision, process, holder)
    finally:
        supervision.starting.discard(process)
        with trio.CancelScope(shield=True):
            await _reap(process)
            await trio.to_thread.run_sync(
                _release, supervision.store, supervision.clock, supervision.start.run_id, holder
            )
    if not isinstance(last, messages.Finished):
        await trio.to_thread.run_sync(_record_replacement, supervision, holder, last)
    return last


async def _follow(
    supervision: _Supervision, process: trio.Process, holder: str
) -> messages.Finished | messages.Failed | None:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("a process started with pipes has pipes")
    try:
        start = supervision.start.model_copy(update={"holder": holder})
        await stdin.send_all(messages.encode_start(start))
        supervision.pipes.add(stdin)  # only now: a pipe must not be closed while it is written to
        if supervision.stop.is_set():
            await stdin.aclose()
        async with aclosing(messages.lines(stdout)) as lines:
            async for line in lines:
                message = messages.from_worker.validate_json(line)
                supervision.starting.discard(process)
                _take(supervision, message)
                if isinstance(message, messages.Finished | messages.Failed):
                    return message
    except trio.BrokenResourceError:
        return None  # it died before it had read what to do
    finally:
        supervision.pipes.discard(stdin)
        with trio.CancelScope(shield=True):
            await stdin.aclose()
    return None


def _take(supervision: _Supervision, message: messages.FromWorker) -> None:
    report = supervision.report
    if isinstance(message, messages.Ready):
        supervision.ready_at = supervision.ready_at or trio.current_time()
    elif isinstance(message, messages.UnitDone):
        report.issued += message.issued
        report.failed += message.failed
        report.waiting_until = None
        report.working_seconds = trio.current_time() - (supervision.ready_at or trio.current_time())
        supervision.deaths_in_a_row = 0
    elif isinstance(message, messages.Waiting):
        report.waiting_until = message.until
    elif isinstance(message, messages.Finished):
        report.workers.append(message)
    supervision.progress(report)


async def _reap(process: trio.Process) -> None:
    """Wait for a process whose pipes are closed; one that a stuck token call keeps from ending is killed."""
    with trio.move_on_after(GRACE_SECONDS):
        await process.wait()
        return
    process.kill()
    await process.wait()


def _release(store: Store, clock: Clock, run_id: int, holder: str) -> None:
    with store.write() as connection:
        release_holder(connection, run_id, holder, clock.now())


def _state(store: Store, run_id: int) -> RunState:
    with store.read() as connection:
        return run_state(connection, run_id)


def _open_units(store: Store, run_id: int) -> int:
    with store.read() as connection:
        return count_open(connection, run_id)


def _record_replacement(
    supervision: _Supervision, holder: str, last: messages.Finished | messages.Failed | None
) -> None:
    why = last.text if isinstance(last, messages.Failed) else "it died without a word"
    with supervision.store.write() as connection:
        append_record(
            connection,
            supervision.clock,
            Event.WORKER_LOST,
            actor=f"supervisor {supervision.host}",
            body={"run": supervision.start.run_id, "worker": holder, "why": why},
        )
