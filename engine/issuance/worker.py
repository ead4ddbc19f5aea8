"""The worker process: leases work units and carries them from reserved to completed.

Three tasks, handing units on through channels of one place each:

    prepare   lease, build, check, reserve      on a thread, while
    sign      the pool signs the two before     on the sessions' threads, while
    finish    the one before is verified and    on a thread
              completed

so the token always has a unit to sign, the sessions that are done with one unit go on with the next, and neither
building nor the database keeps it waiting. Units are finished in the order in which they were leased.

While the token is away the worker keeps its units, says so, and signs the same TBSs when it is back. While the record
is away, or takes no audit record, it ends and says so: the supervisor starts another when the record is back.
Stopping, asked for or because the supervisor is gone (its pipe ends), closes the way in: what was leased and reserved
is completed first, unless the token is away. A worker may be killed at any instruction; what it had reserved is signed
again by the next one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import trio

from engine.audit.log import check_clock
from engine.authority.configured_profiles import configured_profiles
from engine.authority.context import AuthorityContext
from engine.authority.observed import observe_pool, observed
from engine.authority.role_certificates import Authority, load_authority, prove_key
from engine.authority.signing import open_pool, open_token_again
from engine.clock import Clock, SystemClock
from engine.config import load_configuration
from engine.cpu_priority import give_way
from engine.errors import LeaseLost, SealmintError, SignerUnavailable, TokenError, the_sealmint_error
from engine.fault_points import arm, fault_point
from engine.home import Home
from engine.interpreter import settle_for_signing
from engine.issuance import worker_messages as messages
from engine.issuance.policy import Policy, policy_from_text
from engine.issuance.record_waiting import PASSING
from engine.issuance.unit_signing import UnitSigning
from engine.issuance.unit_work import ReservedUnit, UnitWork
from engine.json_log import bound, json_log
from engine.metrics.catalogue import WORKER_ITEMS, WORKER_UNITS
from engine.metrics.process import count_log_lines
from engine.metrics.registry import Metrics
from engine.metrics.spending import (
    StepMeter,
    peak_memory_mb,
    process_cpu_microseconds,
    threads_cpu_microseconds,
)
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import PoolExhausted, SessionPool
from engine.process_hardening import forbid_cores
from engine.store.database import Store, open_store
from engine.store.runs import RunState, get_run, run_state
from engine.store.work_units import Lease, lease_next, prolong
from engine.worker_pipes import encode, lines, serve_over_pipes
from engine.x509.periods import Period

_LEASABLE = frozenset({RunState.RUNNING, RunState.ABORTING})

UNITS_AT_THE_TOKEN = 2
"""One that is being signed and one that waits behind it: with one alone every unit ended with sessions that had nothing
to do (bench.token_rate). In memory are two more on the way in and two on the way out."""


@dataclass
class _Worker:
    """What the tasks share."""

    start: messages.Start
    store: Store
    clock: Clock
    authority: Authority
    policy: Policy
    work: UnitWork
    pool: SessionPool
    out: trio.abc.SendStream
    lease_time: timedelta
    metrics: Metrics
    stopping: trio.Event = field(default_factory=trio.Event)
    in_hand: dict[int, Lease] = field(default_factory=dict)
    waited: dict[str, float] = field(default_factory=lambda: {"token_for_work": 0.0})

    def __post_init__(self) -> None:
        self.signing = UnitSigning(
            self.pool, self.authority.ca.key, self.work.algorithm, self.stopping, self._tell_of_token
        )
        self._items = {
            outcome: self.metrics.counter(WORKER_ITEMS, outcome=outcome) for outcome in ("issued", "failed")
        }
        self._units = self.metrics.counter(WORKER_UNITS)

    async def _tell_of_token(self, reason: str | None) -> None:
        await _tell(self.out, messages.Waiting(awaited=None if reason is None else f"the token: {reason}"))

    async def run(self) -> None:
        """Carry units until there are none, or until asked to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heartbeat)
            async with trio.open_nursery() as pipeline:
                reserved_in, reserved_out = trio.open_memory_channel[ReservedUnit](1)
                signed_in, signed_out = trio.open_memory_channel[_Signed](1)
                pipeline.start_soon(self._prepare, reserved_in)
                pipeline.start_soon(self._sign, reserved_out, signed_in)
                pipeline.start_soon(self._finish, signed_out)
            nursery.cancel_scope.cancel()

    async def _prepare(self, channel: trio.MemorySendChannel[ReservedUnit]) -> None:
        pace = _Pace(self.policy.rate_cap, self.start.workers)
        async with channel:
            while not self.stopping.is_set():
                await self._until_window_opens()
                lease = await trio.to_thread.run_sync(self._lease)
                if lease is None:
                    return
                self.in_hand[lease.unit_id] = lease
                fault_point("unit.leased")
                try:
                    with bound(run=lease.run_id, unit=lease.unit_id):
                        unit = await trio.to_thread.run_sync(self.work.reserve, lease)
                except LeaseLost:
                    del self.in_hand[lease.unit_id]
                    continue
                if not await _hand_on(channel, unit):
                    return
                with trio.move_on_after(pace.delay_after(len(unit.items))):
                    await self.stopping.wait()

    async def _until_window_opens(self) -> None:
        if self.start.draining:
            return  # what is reserved is completed whatever the hour: an abort waits for no window
        # Asked again after each wait: the clock may have been set meanwhile, and the two clocks differ a little.
        while (
            not self.stopping.is_set() and (opens := self.policy.next_opening(self.clock.now())) is not None
        ):
            await _tell(self.out, messages.Waiting(until=opens.isoformat()))
            with trio.move_on_after(max(0.0, (opens - self.clock.now()).total_seconds())):
                await self.stopping.wait()

    def _lease(self) -> Lease | None:
        if self.stopping.is_set():
            return None
        with self.store.write_beside() as connection:
            state = run_state(connection, self.start.run_id)
            if state not in _LEASABLE:
                return None
            now = self.clock.now()
            return lease_next(
                connection,
                self.start.run_id,
                holder=self.start.holder,
                now=now,
                until=now + self.lease_time,
                reserved_only=state is RunState.ABORTING,
            )

    async def _sign(
        self,
        units: trio.MemoryReceiveChannel[ReservedUnit],
        channel: trio.MemorySendChannel[_Signed],
    ) -> None:
        places, handed_on = trio.Semaphore(UNITS_AT_THE_TOKEN), trio.Event()
        handed_on.set()
        async with channel, units, trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                idle_since = trio.current_time()
                try:
                    unit = await units.receive()
                except trio.EndOfChannel:
                    return
                if places.value == UNITS_AT_THE_TOKEN - 1:  # there was nothing else to sign
                    self.waited["token_for_work"] += trio.current_time() - idle_since
                before, handed_on = handed_on, trio.Event()
                nursery.start_soon(self._sign_unit, unit, channel, places, before, handed_on)

    async def _sign_unit(
        self,
        unit: ReservedUnit,
        channel: trio.MemorySendChannel[_Signed],
        places: trio.Semaphore,
        before: trio.Event,
        handed_on: trio.Event,
    ) -> None:
        """Sign a unit, and hand it on after the one before."""
        outcomes = await self.signing.sign([item.tbs for item in unit.items])
        await before.wait()
        if outcomes is None:  # it stays reserved for whoever comes next, who signs the same TBSs
            self.in_hand.pop(unit.lease.unit_id, None)
        else:
            await _hand_on(channel, _Signed(unit, outcomes))
        handed_on.set()
        places.release()

    async def _finish(self, units: trio.MemoryReceiveChannel[_Signed]) -> None:
        async with units:
            async for signed in units:
                lease = signed.unit.lease
                try:
                    with bound(run=lease.run_id, unit=lease.unit_id):
                        outcome = await trio.to_thread.run_sync(
                            self.work.complete, signed.unit, signed.outcomes
                        )
                except LeaseLost:
                    continue
                finally:
                    self.in_hand.pop(lease.unit_id, None)
                self._units.add()
                self._items["issued"].add(outcome.issued)
                self._items["failed"].add(outcome.failed)
                await _tell(self.out, messages.UnitDone(issued=outcome.issued, failed=outcome.failed))

    async def _heartbeat(self) -> None:
        while True:
            await trio.sleep(self.lease_time.total_seconds() / 3)
            for lease in list(self.in_hand.values()):
                with contextlib.suppress(LeaseLost):  # found out, and handled, where the unit is completed
                    await trio.to_thread.run_sync(self._prolong, lease)

    def _prolong(self, lease: Lease) -> None:
        with self.store.write_beside() as connection:
            prolong(connection, lease, self.clock.now() + self.lease_time)


T = TypeVar("T")


async def _hand_on(channel: trio.MemorySendChannel[T], unit: T) -> bool:
    """Give a unit to the next task; False when that one has failed: its error is the one to be told, not ours."""
    try:
        await channel.send(unit)
    except trio.BrokenResourceError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Signed:
    unit: ReservedUnit
    outcomes: list[bytes | TokenError]


class _Pace:
    """Spreads the policy's rate cap over the workers."""

    def __init__(self, rate_cap: float | None, workers: int) -> None:
        self._seconds_each = 0.0 if rate_cap is None else workers / rate_cap
        self._next = trio.current_time()

    def delay_after(self, items: int) -> float:
        self._next = max(self._next, trio.current_time() - 1.0) + items * self._seconds_each
        return max(0.0, self._next - trio.current_time())


async def _listen(worker: _Worker, stdin: trio.abc.ReceiveStream) -> None:
    """Stop when told to, or when the supervisor is gone: either way its pipe ends."""
    async for _ in lines(stdin):
        pass
    worker.stopping.set()


@asynccontextmanager
async def _open_worker(
    start: messages.Start, meter: StepMeter, out: trio.abc.SendStream
) -> AsyncIterator[_Worker]:
    clock = SystemClock()
    home = Home(Path(start.home))
    configuration = load_configuration(home.path)
    arm(configuration.fault_points.kill, Path(configuration.fault_points.marks))
    authority = load_authority(home, configuration)
    store = open_store(configuration.store.url, must_exist=True)
    with store.read() as connection:
        check_clock(connection, clock)
        policy = policy_from_text(get_run(connection, start.run_id).policy_text)
    pin = Pin(start.pin.get_secret_value())
    token = open_token_again(home, configuration)  # the supervisor has found it: it may be restarting
    lease_time = timedelta(seconds=configuration.issuance.lease_seconds)
    actor = f"worker {start.holder}"
    work = UnitWork(
        store,
        clock,
        profiles=configured_profiles(configuration),
        issuer=authority.issuer,
        issuer_public_key=authority.ca.public_key,
        validity=None if policy.validity is None else Period.parse(policy.validity),
        actor=actor,
        lease_time=lease_time,
        meter=meter,
    )
    # Before the pool opens: on a token that is full then, there would be no session left to look with.
    await trio.to_thread.run_sync(prove_key, token, pin, authority.ca)
    async with open_pool(
        home, configuration, token, pin, [authority.ca.key], start.sessions, batch=policy.work_unit_size
    ) as pool:
        context = AuthorityContext(home, configuration, store, clock, authority, actor)
        name, metrics = f"worker-{start.run_id}-{start.place + 1}", Metrics()
        log = json_log(name, counted=count_log_lines(metrics))
        async with observed(configuration, name, metrics, log) as control:
            with observe_pool(control, pool, context):
                yield _Worker(start, store, clock, authority, policy, work, pool, out, lease_time, metrics)
    store.close()


async def serve(stdin: trio.abc.ReceiveStream, out: trio.abc.SendStream) -> int:
    """Run a worker over its two pipes.

    Returns:
        The exit status: 0, or that of the error that stopped it.
    """
    meter = StepMeter()
    async with contextlib.aclosing(lines(stdin)) as heard:
        told = await anext(heard, None)
    if told is None:
        return 0  # the supervisor was gone before it could say what to do
    start = messages.Start.model_validate_json(told)
    try:
        async with _open_worker(start, meter, out) as worker:
            await _tell(out, messages.Ready(process=os.getpid(), sessions=start.sessions))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_listen, worker, stdin)
                await worker.run()
                nursery.cancel_scope.cancel()
            await _tell(out, _finished(worker, meter))
    except (SealmintError, BaseExceptionGroup) as raised:
        error = the_sealmint_error(raised)
        await _tell(out, _failed(error))
        return error.exit_code
    return 0


async def _tell(out: trio.abc.SendStream, message: messages.FromWorker) -> None:
    """Tell the supervisor, if it is still there: without it the units in hand are finished all the same."""
    with contextlib.suppress(trio.BrokenResourceError):
        await out.send_all(encode(message))


def _finished(worker: _Worker, meter: StepMeter) -> messages.Finished:
    pool = worker.pool.statistics()
    signing = threads_cpu_microseconds("session ")  # the pool's threads bear this name
    return messages.Finished(
        cpu_microseconds=process_cpu_microseconds(),
        steps_microseconds={**meter.microseconds(), "sign": signing},
        peak_memory_mb=peak_memory_mb(),
        waits={**worker.waited, "token_away": worker.signing.seconds_away},
        replaced_sessions=pool.replacements,
        errors=dict(pool.errors),
    )


def _failed(error: SealmintError) -> messages.Failed:
    return messages.Failed(
        error=type(error).__name__,
        text=str(error),
        awaited=_awaited(error),
    )


def _awaited(error: SealmintError) -> str | None:
    """Return what has to come back before another worker succeeds; None where none would."""
    if isinstance(error, PASSING):
        return f"the record: {error}"
    return f"the token: {error}" if isinstance(error, PoolExhausted | SignerUnavailable) else None


def main() -> None:
    """The entry of a worker process: `python -m engine.issuance.worker`, started by the supervisor only."""
    forbid_cores()
    give_way()
    settle_for_signing()
    serve_over_pipes(serve)


if __name__ == "__main__":
    main()
