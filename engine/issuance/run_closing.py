"""What the workers leave behind: a run that is paused, completed or aborted, with its signed manifest."""

from __future__ import annotations

import trio

from engine.audit.checkpoints import export_checkpoint, sign_checkpoint
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.signing import AUTHORITY_ALGORITHM, announced, open_signer
from engine.errors import TokenError
from engine.issuance.measurement import keep_run_measurement
from engine.issuance.run_context import RunContext
from engine.issuance.run_manifest import write_run_manifest
from engine.issuance.supervisor import WorkReport
from engine.issuance.workforce import Workforce
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.store.claims import release_claims_of_aborted
from engine.store.runs import RunState, change_state, run_state, totals
from engine.store.work_units import abort_unreserved, count_open
from engine.x509.serial_numbers import time_of


async def settle(
    context: RunContext, run_id: int, token: Token, pin: Pin, report: WorkReport, force: Workforce
) -> None:
    """Bring the run into the state that the workers left it in."""
    await trio.to_thread.run_sync(keep_run_measurement, context, run_id, report, force)
    state, open_units = await trio.to_thread.run_sync(_where_it_stands, context, run_id)
    if open_units and state is not RunState.ABORTING:
        state = await trio.to_thread.run_sync(
            pause_if_running, context, run_id, report.error or "asked to pause"
        )
    try:
        if state is RunState.ABORTING:
            await _finish_abort(context, run_id, token, pin, report)
        elif not open_units:
            await _close(context, run_id, token, pin, RunState.COMPLETED, Event.RUN_COMPLETED)
    except TokenError as error:
        report.error = f"every unit is done, but the run could not be closed: {error}"
        await trio.to_thread.run_sync(pause_if_running, context, run_id, report.error)


def _where_it_stands(context: RunContext, run_id: int) -> tuple[RunState, int]:
    with context.store.read() as connection:
        return run_state(connection, run_id), count_open(connection, run_id)


def pause_if_running(context: RunContext, run_id: int, reason: str) -> RunState:
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
