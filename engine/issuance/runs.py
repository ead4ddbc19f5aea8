"""Runs from the outside: start, pause, resume, abort, retry."""

from __future__ import annotations

import trio
from pydantic import SecretStr

from engine.audit.events import Event
from engine.audit.log import append_record, check_clock
from engine.authority.role_certificates import prove_key
from engine.errors import HomeUnusable
from engine.issuance.policy import policy_from_text
from engine.issuance.run_closing import pause_if_running, settle
from engine.issuance.run_context import RunContext
from engine.issuance.shared_run import held_elsewhere
from engine.issuance.supervisor import Progress, WorkReport, work_off
from engine.issuance.worker_messages import Start
from engine.issuance.workforce import Workforce
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.store.retry import retry_failed
from engine.store.runs import RunState, change_state, get_run, run_state, totals

STARTABLE = frozenset({RunState.PLANNED, RunState.PAUSED, RunState.RUNNING, RunState.PAUSING})
"""RUNNING and PAUSING are startable too: with the run's lock free they are what a killed supervisor left."""


async def run_to_end(
    context: RunContext,
    run_id: int,
    token: Token,
    pin: Pin,
    *,
    force: Workforce,
    stop: trio.Event,
    progress: Progress,
) -> WorkReport:
    """Start or resume a run and work it off; close it when no unit is left.

    Args:
        context: the home and its parts.
        run_id: the run.
        token: the open token.
        pin: its PIN.
        force: workers and sessions.
        stop: set to pause: units in hand are finished first.
        progress: called after every unit.

    Returns:
        What the workers did. `error` says why the run could not go on; it is paused then. A token that is away does
        not pause it: it is waited for.

        A run that other homes work off too is closed by the last of them; `elsewhere` tells the others.

    Raises:
        HomeUnusable: another process of this home works on the run.
        RunStateConflict: the run is completed or aborted, or still being planned.
        TokenError: the token's key is not the CA's, or the token cannot be used.
    """
    with context.home.lock(f"run-{run_id}", f"run {run_id}"):
        with context.store.read() as connection:
            check_clock(connection, context.clock)
            found = run_state(connection, run_id)
        await trio.to_thread.run_sync(prove_key, token, pin, context.authority.ca)
        draining = await trio.to_thread.run_sync(_begin, context, run_id, found)
        start = Start(
            home=str(context.home.path),
            run_id=run_id,
            holder="",
            sessions=force.sessions,
            workers=force.workers,
            draining=draining,
            pin=SecretStr(pin.reveal().decode()),
        )
        report = await work_off(
            context.store, context.clock, start, holder=context.home.holder, stop=stop, progress=progress
        )
        with trio.CancelScope(shield=True):
            await settle(context, run_id, token, pin, report, force, stop=stop)
        return report


def _begin(context: RunContext, run_id: int, found: RunState) -> bool:
    """Set the run running, and return whether it only has to complete what is reserved.

    Asked to pause or abort since its state was found, it is left as asked: the supervisor sees to it.
    """
    with context.store.write() as connection:
        row = get_run(connection, run_id)
        state = RunState(row.state)
        if state is RunState.ABORTING or state is not found:
            return state is RunState.ABORTING
        started = row.started_at or context.clock.now()
        before = change_state(connection, run_id, RunState.RUNNING, allowed=STARTABLE, started_at=started)
        append_record(
            connection,
            context.clock,
            Event.RUN_STARTED,
            actor=context.actor,
            body={"run": run_id, "from": before.value},
        )
    return False


def ask(context: RunContext, run_id: int, to: RunState) -> bool:
    """Ask the process that works on a run to pause or abort it.

    Args:
        context: the home and its parts.
        run_id: the run.
        to: PAUSING or ABORTING.

    Returns:
        Whether a process is at work on it, here or in another home that has units in hand, and will do what was asked;
        without one the caller goes on itself.

    Raises:
        RunStateConflict: the run is closed already, or is being aborted and cannot be paused.
    """
    aborting = to is RunState.ABORTING
    allowed = STARTABLE | ({RunState.ABORTING} if aborting else frozenset())
    event = Event.RUN_ABORT_ASKED if aborting else Event.RUN_PAUSE_ASKED
    context.record(event, run_id, to, frozenset(allowed), "asked by " + context.actor)
    try:
        with context.home.lock(f"run-{run_id}", "looking whether anybody is at work"):
            if held_elsewhere(context, run_id):
                return True
            if not aborting:  # whoever was at work may have paused it already, or completed it
                pause_if_running(context, run_id, "nobody was at work")
            return False
    except HomeUnusable:
        return True


def retry(context: RunContext, run_id: int) -> int:
    """Put the failed items of a run into new units, and make the run startable again.

    Returns:
        How many items will be tried again.

    Raises:
        HomeUnusable: a process is at work on the run.
        RunStateConflict: the run was aborted, or is being: what its cards had claimed may be another's by now.
    """
    with context.home.lock(f"run-{run_id}", "preparing a retry"), context.store.write() as connection:
        if held_elsewhere(context, run_id):
            raise HomeUnusable(
                "another home is at work on the run", place=f"run {run_id}", rule="pause it first"
            )
        row = get_run(connection, run_id)
        failed = totals(connection, run_id)["failed"]
        if failed == 0:
            return 0
        units = retry_failed(connection, run_id, policy_from_text(row.policy_text).work_unit_size)
        change_state(
            connection,
            run_id,
            RunState.PAUSED,
            allowed=STARTABLE | {RunState.COMPLETED},
            reason=f"{failed} failed items to be tried again",
            closed_at=None,
        )
        append_record(
            connection,
            context.clock,
            Event.RUN_RETRIED,
            actor=context.actor,
            body={"run": run_id, "items": failed, "units": units},
        )
    return failed
