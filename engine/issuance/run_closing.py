"""What the workers leave behind: a run that is paused, completed or aborted, with its signed manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from engine.audit.checkpoints import export_checkpoint, sign_checkpoint
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.back_off import BackOff
from engine.authority.signing import AUTHORITY_ALGORITHM, announced, open_signer
from engine.errors import LeaseLost, SignerUnavailable, TokenError
from engine.fault_points import fault_point
from engine.issuance.measurement import keep_run_measurement
from engine.issuance.record_waiting import PASSING, once_possible
from engine.issuance.run_context import RunContext
from engine.issuance.run_manifest import write_run_manifest
from engine.issuance.shared_run import CLOSABLE, end_closing, take_closing, units_left
from engine.issuance.supervisor import STATE_POLL_SECONDS, WorkReport
from engine.issuance.workforce import Workforce
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.store.claims import release_claims_of_aborted
from engine.store.leases import Lease, check_lease
from engine.store.runs import RunState, change_state, run_state, totals
from engine.store.work_units import abort_unreserved, count_open
from engine.x509.serial_numbers import time_of

CLOSED = frozenset({RunState.COMPLETED, RunState.ABORTED})


async def settle(
    context: RunContext,
    run_id: int,
    token: Token,
    pin: Pin,
    report: WorkReport,
    force: Workforce,
    *,
    stop: trio.Event,
) -> None:
    """Bring the run into the state that the workers left it in.

    Where other homes still hold units of it, or have closed it, it is left to them. Of several that find nothing left
    one closes it. Where token or record are away when the run is to be closed, they are waited for until `stop` is set.
    """
    await once_possible(partial(keep_run_measurement, context, run_id, report, force), stop)
    state, open_units = await once_possible(partial(_where_it_stands, context, run_id), stop)
    look = partial(units_left, context.store, context.clock, run_id, context.home.holder, state)
    _, elsewhere = await once_possible(look, stop)
    if elsewhere or state in CLOSED:  # whoever is last does what is left to be done
        report.elsewhere = True
        return
    if open_units and state is not RunState.ABORTING:
        pausing = partial(pause_if_running, context, run_id, report.error or "asked to pause")
        state = await once_possible(pausing, stop)
    try:
        if state is RunState.ABORTING:
            await _finish_abort(context, run_id, token, pin, report, stop)
        elif not open_units:
            closing = partial(_close, context, run_id, token, pin, RunState.COMPLETED, Event.RUN_COMPLETED)
            await _close_once(context, run_id, closing, report, stop)
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


async def _close_once(
    context: RunContext,
    run_id: int,
    closing: Callable[[Lease], Awaitable[None]],
    report: WorkReport,
    stop: trio.Event,
) -> None:
    """Close a run under its lease; or wait while another home does, and see that it did."""
    while True:
        lease, state = await once_possible(partial(take_closing, context, run_id), stop)
        if lease is not None:
            break
        if state not in CLOSABLE or stop.is_set():
            report.elsewhere = True
            return
        with trio.move_on_after(STATE_POLL_SECONDS):
            await stop.wait()
    try:
        await _as_soon_as_possible(partial(closing, lease), stop)
    except LeaseLost:
        report.elsewhere = True
    finally:
        with contextlib.suppress(*PASSING):  # it runs out by itself
            await trio.to_thread.run_sync(end_closing, context, lease)


async def _as_soon_as_possible(closing: Callable[[], Awaitable[None]], stop: trio.Event) -> None:
    """Close a run, and try again while token or record are away; once it is time to stop, one attempt is all."""
    back_off = BackOff()
    while True:
        try:
            return await closing()
        except (SignerUnavailable, *PASSING):
            if stop.is_set():
                raise
        with trio.move_on_after(back_off.next()):
            await stop.wait()


async def _finish_abort(
    context: RunContext, run_id: int, token: Token, pin: Pin, report: WorkReport, stop: trio.Event
) -> None:
    """Reserved units are completed by now, or the token was away: then the run stays aborting."""

    def abandon() -> int:
        with context.store.write() as connection:
            abort_unreserved(connection, run_id)
            release_claims_of_aborted(connection, run_id)
            return count_open(connection, run_id)

    if await once_possible(abandon, stop) == 0:
        closing = partial(_close, context, run_id, token, pin, RunState.ABORTED, Event.RUN_ABORTED)
        await _close_once(context, run_id, closing, report, stop)
    elif report.error is None:
        report.error = "units that are reserved could not be completed; abort again"


async def _close(
    context: RunContext, run_id: int, token: Token, pin: Pin, state: RunState, event: Event, lease: Lease
) -> None:
    """Sign the manifest of every certificate, fix the run's last one, close the run, and sign a checkpoint.

    Called again after the token was away, it does what is not done yet.
    """
    operations, audit = context.authority.operations, context.authority.audit
    async with open_signer(
        context.home, context.configuration, token, pin, [operations.key, audit.key]
    ) as signer:
        found, _ = await trio.to_thread.run_sync(_where_it_stands, context, run_id)
        if found is not state:
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
            await trio.to_thread.run_sync(_mark_closed, context, run_id, state, event, digest, last, lease)
        fault_point("run.closed")
        checkpoint = await sign_checkpoint(
            context.store,
            context.clock,
            actor=context.actor,
            key_identifier=audit.key_identifier,
            sign=signer(audit.key, AUTHORITY_ALGORITHM),
        )
        export_checkpoint(checkpoint, context.home.checkpoints)


def _mark_closed(
    context: RunContext,
    run_id: int,
    state: RunState,
    event: Event,
    digest: bytes,
    last: bytes | None,
    lease: Lease,
) -> None:
    with context.store.write() as connection:
        check_lease(connection, lease)
        now = context.clock.now()
        change_state(
            connection,
            run_id,
            state,
            allowed=CLOSABLE,
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
