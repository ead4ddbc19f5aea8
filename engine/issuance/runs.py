"""Runs from the outside: start, pause, resume, abort, retry, and what closing one leaves behind."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import trio
from pydantic import SecretStr
from sqlalchemy import insert

from engine.audit.checkpoints import export_checkpoint, sign_checkpoint
from engine.audit.events import Event
from engine.audit.log import append_record, check_clock
from engine.clock import Clock
from engine.config import Configuration
from engine.errors import HomeUnusable, RunStateConflict, TokenError
from engine.home import Home
from engine.issuance.authority import Authority, prove_key
from engine.issuance.policy import policy_from_text
from engine.issuance.run_manifest import write_run_manifest
from engine.issuance.signing import AUTHORITY_ALGORITHM, announced, open_signer
from engine.issuance.supervisor import Progress, WorkReport, work_off
from engine.issuance.worker_messages import Start
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.store.claims import release_claims_of_aborted
from engine.store.database import Store
from engine.store.plans import next_id
from engine.store.retry import retry_failed
from engine.store.runs import RunState, change_state, get_run, run_state, totals
from engine.store.schema import token_measurement
from engine.store.work_units import abort_unreserved, count_open
from engine.x509.serial_numbers import time_of

STARTABLE = frozenset({RunState.PLANNED, RunState.PAUSED, RunState.RUNNING, RunState.PAUSING})
"""RUNNING and PAUSING are startable too: with the run's lock free they are what a killed supervisor left."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every act on a run needs."""

    home: Home
    configuration: Configuration
    store: Store
    clock: Clock
    authority: Authority
    actor: str

    def record(
        self, event: Event, run_id: int, to: RunState, allowed: frozenset[RunState], reason: str
    ) -> None:
        """Move a run to another state, with its audit record."""
        with self.store.write() as connection:
            before = change_state(connection, run_id, to, allowed=allowed, reason=reason)
            append_record(
                connection,
                self.clock,
                event,
                actor=self.actor,
                body={"run": run_id, "from": before.value, "to": to.value, "reason": reason},
            )


@dataclass(frozen=True, slots=True)
class Workforce:
    """How many processes with how many sessions each."""

    workers: int
    sessions: int


def workforce(context: RunContext, token: Token, workers: int | None, sessions: int | None) -> Workforce:
    """Settle how many workers and sessions there will be, within what the token allows.

    Every process also holds an anchor session, and the supervisor's own signer two sessions more.

    Raises:
        RunStateConflict: the token does not allow even one worker.
    """
    asked = context.configuration.issuance
    wanted = workers or asked.workers or os.cpu_count() or 1
    each = sessions or asked.sessions
    most = token.limits().max_sessions
    if most is None:
        return Workforce(wanted, each)
    for_workers = most - SUPERVISOR_SESSIONS
    if for_workers < 2:
        raise RunStateConflict(
            "the token allows too few sessions for a worker",
            place=f"token {token.label}",
            value=most,
            rule=f"at least {SUPERVISOR_SESSIONS + 2}: an anchor and one session, and the supervisor's own",
        )
    count = min(wanted, for_workers // 2)
    return Workforce(count, min(each, for_workers // count - 1))


SUPERVISOR_SESSIONS = 3
"""The supervisor's anchor, its signer, and the one that proves a key."""


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
        What the workers did. `error` says why the run could not go on; it is paused then.

    Raises:
        HomeUnusable: another process works on the run.
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
            context.store, context.clock, start, host=socket.gethostname(), stop=stop, progress=progress
        )
        with trio.CancelScope(shield=True):
            await _settle(context, run_id, token, pin, report, force)
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


async def _settle(
    context: RunContext, run_id: int, token: Token, pin: Pin, report: WorkReport, force: Workforce
) -> None:
    """Bring the run into the state that the workers left it in."""
    await trio.to_thread.run_sync(_keep_measurement, context, run_id, report, force)
    state, open_units = await trio.to_thread.run_sync(_where_it_stands, context, run_id)
    if open_units and state is not RunState.ABORTING:
        state = await trio.to_thread.run_sync(_pause, context, run_id, report.error or "asked to pause")
    try:
        if state is RunState.ABORTING:
            await _finish_abort(context, run_id, token, pin, report)
        elif not open_units:
            await _close(context, run_id, token, pin, RunState.COMPLETED, Event.RUN_COMPLETED)
    except TokenError as error:
        report.error = f"every unit is done, but the run could not be closed: {error}"
        await trio.to_thread.run_sync(_pause, context, run_id, report.error)


def _where_it_stands(context: RunContext, run_id: int) -> tuple[RunState, int]:
    with context.store.read() as connection:
        return run_state(connection, run_id), count_open(connection, run_id)


def _pause(context: RunContext, run_id: int, reason: str) -> RunState:
    """Record that the run is paused, unless it was closed or asked to abort meanwhile; return its state."""
    with context.store.write() as connection:
        before = run_state(connection, run_id)
        if before not in {RunState.RUNNING, RunState.PAUSING}:
            return before
        change_state(connection, run_id, RunState.PAUSED, allowed=frozenset({before}), reason=reason)
        append_record(
            connection,
            context.clock,
            Event.RUN_PAUSED,
            actor=context.actor,
            body={"run": run_id, "from": before.value, "to": RunState.PAUSED.value, "reason": reason},
        )
    return RunState.PAUSED


def _keep_measurement(context: RunContext, run_id: int, report: WorkReport, force: Workforce) -> None:
    """Keep what the token did in this run, for the time estimates of dry runs.

    A run with a rate cap or with run windows tells what its policy allows, not what the token does.
    """
    if report.issued < MEASURABLE or report.seconds <= 0:
        return
    with context.store.write() as connection:
        policy = policy_from_text(get_run(connection, run_id).policy_text)
        if policy.rate_cap is not None or policy.run_windows:
            return
        connection.execute(
            insert(token_measurement).values(
                id=next_id(connection, token_measurement),
                measured_at=context.clock.now(),
                sessions=force.workers * force.sessions,
                signatures=report.issued,
                microseconds=int(report.seconds * 1e6),
                source="run",
            )
        )


MEASURABLE = 1_000
"""Certificates below which a run says nothing about the token's speed: starting takes longer. A guess."""


async def _finish_abort(context: RunContext, run_id: int, token: Token, pin: Pin, report: WorkReport) -> None:
    """Reserved units are completed by now, or the token was away: then the run stays aborting."""

    def abandon() -> int:
        with context.store.write() as connection:
            abort_unreserved(connection, run_id)
            release_claims_of_aborted(connection, run_id)
            return count_open(connection, run_id)

    if await trio.to_thread.run_sync(abandon) == 0:
        await _close(context, run_id, token, pin, RunState.ABORTED, Event.RUN_ABORTED)
    elif report.error is None:
        report.error = "units that are reserved could not be completed; abort again"


async def _close(
    context: RunContext, run_id: int, token: Token, pin: Pin, state: RunState, event: Event
) -> None:
    """Sign the manifest of every certificate, fix the run's last one, and close the run."""
    operations, audit = context.authority.operations, context.authority.audit
    async with open_signer(
        context.home, context.configuration, token, pin, [operations.key, audit.key]
    ) as signer:
        sign = announced(
            signer(operations.key, AUTHORITY_ALGORITHM),
            context.store,
            context.clock,
            actor=context.actor,
            purpose=f"manifest of run {run_id}",
        )
        digest, last = await write_run_manifest(
            context.home, context.store, context.clock, context.authority, run_id, sign
        )
        await trio.to_thread.run_sync(_mark_closed, context, run_id, state, event, digest, last)
        checkpoint = await sign_checkpoint(
            context.store,
            context.clock,
            actor=context.actor,
            key_identifier=audit.key_identifier,
            sign=signer(audit.key, AUTHORITY_ALGORITHM),
        )
        export_checkpoint(checkpoint, context.home.checkpoints)


def _mark_closed(
    context: RunContext, run_id: int, state: RunState, event: Event, digest: bytes, last: bytes | None
) -> None:
    with context.store.write() as connection:
        now = context.clock.now()
        change_state(
            connection,
            run_id,
            state,
            allowed=frozenset({RunState.RUNNING, RunState.PAUSING, RunState.ABORTING}),
            closed_at=now,
            last_certificate_serial=None if last is None else last,
            last_certificate_at=None if last is None else time_of(last),
            manifest_digest=digest,
        )
        append_record(
            connection,
            context.clock,
            event,
            actor=context.actor,
            body={
                "run": run_id,
                **totals(connection, run_id),
                "last_certificate": None if last is None else last.hex(),
                "manifest_sha256": digest.hex(),
            },
        )


def ask(context: RunContext, run_id: int, to: RunState) -> bool:
    """Ask the process that works on a run to pause or abort it.

    Args:
        context: the home and its parts.
        run_id: the run.
        to: PAUSING or ABORTING.

    Returns:
        Whether a process is at work on it, and will do what was asked; without one the caller goes on itself.

    Raises:
        RunStateConflict: the run is closed already, or is being aborted and cannot be paused.
    """
    aborting = to is RunState.ABORTING
    allowed = STARTABLE | ({RunState.ABORTING} if aborting else frozenset())
    event = Event.RUN_ABORT_ASKED if aborting else Event.RUN_PAUSE_ASKED
    context.record(event, run_id, to, frozenset(allowed), "asked by " + context.actor)
    try:
        with context.home.lock(f"run-{run_id}", "looking whether anybody is at work"):
            if not aborting:  # whoever was at work may have paused it already, or completed it
                _pause(context, run_id, "nobody was at work")
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
