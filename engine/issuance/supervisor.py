"""The supervisor of a run: starts worker processes, follows them, replaces the ones that die.

It holds the run's lock, so there is one supervisor a run in this home, and whatever an earlier one's workers still
hold is known to be held by the dead. Supervisors of other homes may be at work on the same run. The workers end by
themselves when its pipes close.

While the token is away the run goes on: workers wait for it, and one that cannot wait, because its module must be
loaded anew, is replaced as often as that takes. The same holds while the record is away or takes no audit record: what
workers had in hand is reserved, and signed again as it is stored. Where the token refuses for good, as with a wrong
PIN, the run is paused at the first word of it, so that nothing is tried twice.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.back_off import BackOff
from engine.clock import Clock
from engine.issuance import worker_messages as messages
from engine.issuance.record_waiting import PASSING, once_possible
from engine.issuance.shared_run import units_left
from engine.store.database import Store
from engine.store.runs import RunState, change_state, run_state
from engine.store.work_units import count_open, release_holder
from engine.worker_pipes import lines

WORKER_COMMAND = (sys.executable, "-P", "-m", "engine.issuance.worker")
"""-P: what lies in the current directory must not be taken for our modules."""

REPLACEMENTS_WITHOUT_PROGRESS = 3
"""Workers that died in a row without a word and without a unit completed, before the run is paused for a person to
look. A guess. Those that say that the token is away do not count."""

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
    """When the run window opens."""
    waiting_for: str | None = None
    """`the token: …` or `the record: …`, with what it said, where at least one worker waits for it."""
    error: str | None = None
    elsewhere: bool = False
    """Whether another home has closed the run, or is still at work on it and will."""


Progress = Callable[[WorkReport], None]

T = TypeVar("T")


@dataclass
class _Supervision:
    store: Store
    clock: Clock
    start: messages.Start
    holder: str
    report: WorkReport
    progress: Progress
    stop: trio.Event
    ready_at: float | None = None
    pipes: set[trio.abc.SendStream] = field(default_factory=set)
    starting: set[trio.Process] = field(default_factory=set)
    """Workers that are not ready yet: they hold no unit."""
    deaths_in_a_row: int = 0
    reasons: dict[int, str] = field(default_factory=dict)
    """What workers wait for, by their place."""
    told: str | None = None
    """The reason that stands in the record."""


async def work_off(
    store: Store,
    clock: Clock,
    start: messages.Start,
    *,
    holder: str,
    stop: trio.Event,
    progress: Progress,
) -> WorkReport:
    """Work a run off with worker processes until no unit is left, or it is stopped.

    Args:
        store: the open store; the run is running or being aborted, and its lock is held.
        clock: tells the time of leases and records.
        start: what the workers are told; the holder's name is set for each.
        holder: this home's name: the beginning of the workers' names as holders.
        stop: set by the caller to stop: units in hand are finished first.
        progress: called after every unit, in the trio thread.

    Returns:
        What was done. Its `error` says why the run could not go on, if it could not.

    Cancelled, it closes the workers' pipes, and kills those that have not finished the units in hand after
    `GRACE_SECONDS`; what such a one had reserved stays so, for the next start.
    """
    await trio.to_thread.run_sync(_release, store, clock, start.run_id, f"{holder}:")
    report = WorkReport()
    supervision = _Supervision(store, clock, start, holder, report, progress, stop)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_state, supervision)
        async with trio.open_nursery() as workers:
            for place in range(start.workers):
                workers.start_soon(_keep_worker, supervision, place)
        nursery.cancel_scope.cancel()
    report.seconds = trio.current_time() - began
    return report


async def _watch_state(supervision: _Supervision) -> None:
    while not supervision.stop.is_set():
        with trio.move_on_after(STATE_POLL_SECONDS):
            await supervision.stop.wait()
        state = await _look(supervision, _state)
        wanted = {RunState.ABORTING} if supervision.start.draining else {RunState.RUNNING}
        if state is not None and state not in wanted:
            supervision.stop.set()
    for pipe in list(supervision.pipes):  # a copy: workers come and go while one is closed
        await pipe.aclose()
    await trio.sleep(GRACE_SECONDS)
    for process in supervision.starting:
        process.kill()


async def _keep_worker(supervision: _Supervision, place: int) -> None:
    """Run one worker, and another in its place if it died and there is still work."""
    back_off = BackOff()
    while not supervision.stop.is_set():
        issued = supervision.report.issued
        last = await _one_worker(supervision, place)
        if isinstance(last, messages.Finished):
            await _wait_for(supervision, place, None)
            if await _other_home_leaves_units(supervision):
                continue
            return
        supervision.report.replaced += 1
        error = _why_no_other(supervision, last)
        if error is not None:
            supervision.report.error = error
            supervision.stop.set()
            return
        if supervision.report.issued > issued:
            back_off.end()
        if isinstance(last, messages.Failed):
            await _wait_for(supervision, place, last.awaited)
        if not await _look(
            supervision, _open_units
        ):  # nothing is left, or it was stopped while the record was away
            return
        if isinstance(last, messages.Failed):
            with trio.move_on_after(back_off.next()):
                await supervision.stop.wait()


async def _other_home_leaves_units(supervision: _Supervision) -> bool:
    """Wait while other homes hold what is left of the run; whether there is something to take, as when one died.

    A worker that is not told to stop leaves nothing free, so what is free has become so since it looked.
    """
    start = supervision.start
    wanted = RunState.ABORTING if start.draining else RunState.RUNNING
    look = partial(units_left, supervision.store, supervision.clock, start.run_id, supervision.holder, wanted)
    while not supervision.stop.is_set():
        try:
            free, elsewhere = await once_possible(look, supervision.stop)
        except PASSING:
            return False
        if free or not elsewhere:
            return bool(free)
        with trio.move_on_after(STATE_POLL_SECONDS):
            await supervision.stop.wait()
    return False


def _why_no_other(supervision: _Supervision, last: messages.Failed | None) -> str | None:
    """Return why no other worker is started in the place of one that ended; None where one is."""
    if last is not None:
        return last.text if last.awaited is None else None
    supervision.deaths_in_a_row += 1
    again_and_again = supervision.deaths_in_a_row > REPLACEMENTS_WITHOUT_PROGRESS
    return "a worker process died again and again" if again_and_again else None


async def _one_worker(supervision: _Supervision, place: int) -> messages.Finished | messages.Failed | None:
    """Start a worker and follow it to its end; None where it died without a word."""
    process = await trio.lowlevel.open_process(
        WORKER_COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C at the terminal is for the supervisor, which tells the workers
    )
    # Padded to the digits of the highest process number there is (proc(5), pid_max: 2^22): holders are released
    # by the beginning of their names, and no name may be the beginning of another.
    holder = f"{supervision.holder}:{process.pid:07d}"
    release = partial(_release, supervision.store, supervision.clock, supervision.start.run_id, holder)
    released = False
    supervision.starting.add(process)
    try:
        last = await _follow(supervision, process, holder, place)
    finally:
        supervision.starting.discard(process)
        with trio.CancelScope(shield=True):
            await _reap(process)
            with trio.move_on_after(GRACE_SECONDS):
                released = await _do(supervision, release)
    if not released:  # the record is away; without it, the lease of what the worker held runs out by itself
        await _do(supervision, release)
    # Once for each reason: while the token is away for hours, a worker is lost every few seconds.
    if not isinstance(last, messages.Finished) and (last is None or last.awaited != supervision.told):
        await _do(supervision, partial(_record_replacement, supervision, holder, last))
    return last


async def _do(supervision: _Supervision, work: Callable[[], None]) -> bool:
    """Write to the record as soon as it takes it; False where it was time to stop before."""
    try:
        await once_possible(work, supervision.stop)
    except PASSING:
        return False
    return True


async def _look(supervision: _Supervision, question: Callable[[Store, int], T]) -> T | None:
    """Ask the record about the run as soon as it answers; None where it was time to stop before."""
    try:
        return await once_possible(
            partial(question, supervision.store, supervision.start.run_id), supervision.stop
        )
    except PASSING:
        return None


async def _follow(
    supervision: _Supervision, process: trio.Process, holder: str, place: int
) -> messages.Finished | messages.Failed | None:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("a process started with pipes has pipes")
    try:
        start = supervision.start.model_copy(update={"holder": holder, "place": place})
        await stdin.send_all(messages.encode_start(start))
        supervision.pipes.add(stdin)  # only now: a pipe must not be closed while it is written to
        if supervision.stop.is_set():
            await stdin.aclose()
        async with aclosing(lines(stdout)) as heard:
            async for line in heard:
                message = messages.from_worker.validate_json(line)
                supervision.starting.discard(process)
                _take(supervision, message)
                if isinstance(message, messages.Finished | messages.Failed):
                    return message
                if not isinstance(message, messages.Ready):
                    awaited = message.awaited if isinstance(message, messages.Waiting) else None
                    await _wait_for(supervision, place, awaited)
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


async def _wait_for(supervision: _Supervision, place: int, awaited: str | None) -> None:
    """Note what a worker waits for, or with None that it does not; the record says so at each change, if it can."""
    if awaited is None:
        supervision.reasons.pop(place, None)
    else:
        supervision.reasons[place] = awaited
    standing = next(iter(supervision.reasons.values()), None)
    if standing != supervision.told:
        supervision.report.waiting_for = standing
        supervision.progress(supervision.report)
        try:
            await trio.to_thread.run_sync(_record_reason, supervision, standing)
        except PASSING:
            return  # what is said to the terminal is said; in the record the next change will stand
        supervision.told = standing


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


def _record_reason(supervision: _Supervision, reason: str | None) -> None:
    """Let `run status` say why nothing is signed at present."""
    run_id = supervision.start.run_id
    with supervision.store.write() as connection:
        state = run_state(connection, run_id)
        if state is RunState.RUNNING:  # else the reason is that of whoever asked for another state
            text = None if reason is None else f"waiting for {reason}"
            change_state(connection, run_id, state, allowed=frozenset({state}), reason=text)


def _record_replacement(
    supervision: _Supervision, holder: str, last: messages.Finished | messages.Failed | None
) -> None:
    why = last.text if isinstance(last, messages.Failed) else "it died without a word"
    with supervision.store.write() as connection:
        append_record(
            connection,
            supervision.clock,
            Event.WORKER_LOST,
            actor=f"supervisor {supervision.holder}",
            body={"run": supervision.start.run_id, "worker": holder, "why": why},
        )
