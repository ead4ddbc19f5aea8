"""The pre-signer: a process that keeps every card's OCSP answer signed and fresh, ahead of the questions.

Two pipelines share one pool of sessions: changes of status go through the urgent lane as they come; renewals and new
certificates fill the pre-signing lane behind them. While the token is away nothing is signed, withdrawn answers stay
withdrawn, and it tries again by itself. Several signers divide the cards by their numbers; a lease keeps each share to
one of them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import trio

from engine.authority.back_off import BackOff
from engine.authority.observed import observe_pool
from engine.authority.ocsp_responders import OcspResponderCertificate, ocsp_responders, responder_in_charge
from engine.authority.pool_control import DRAINED
from engine.authority.role_certificates import prove_key
from engine.authority.signing import open_pool, open_token_again
from engine.errors import (
    HomeUnusable,
    SealmintError,
    SignerFailed,
    StoreError,
    TokenError,
    the_sealmint_error,
)
from engine.metrics.catalogue import PRE_SIGNED
from engine.pkcs11.lanes import Lane
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.status.answer_pipeline import BATCH, AnswerPipeline, UrgentAnswerPipeline
from engine.status.pre_signing import PreSigning
from engine.status.service import Service, run_service
from engine.store.leases import Lease, give_back, take_lease

LEASE_SECONDS = 60
"""How long another host waits for one that died; on the same host a restart goes on at once. A guess."""

WORKED_SECONDS = 30.0
"""An attempt that lasted so long had worked: the next pause is the first again. A guess."""

TELL_SECONDS = 60.0
"""Between two lines of the log while the token is away. A guess: sixty an hour."""

WATCH_SECONDS = 1.0
"""Between two looks whether another signer has nothing left, or a drain is over. A guess: a person waits for it."""

RESPONDER_CHECK_SECONDS = 60
"""Between two looks whether another responder certificate has taken over. A guess: that is planned weeks ahead."""


async def serve(service: Service) -> None:
    """Sign until told to stop; with `--once`, until nothing is left.

    Raises:
        SignerFailed: the token refused for good. Not tried again: a token locks after a few wrong PINs.
        PoolExhausted: the process is to be replaced.
        SealmintError: with `--once` whatever else kept it from signing.
    """
    pin = await service.pin()
    back_off, told_at = BackOff(), -math.inf
    while not service.stop.is_set():
        began = trio.current_time()
        try:
            if await _sign_under_lease(service, pin) and service.arguments.once:
                return
        except (SealmintError, BaseExceptionGroup) as raised:
            error = the_sealmint_error(raised)
            if service.arguments.once or isinstance(error, SignerFailed):
                raise
            if trio.current_time() - began > WORKED_SECONDS:
                back_off.end()
            if back_off.attempts == 0 or trio.current_time() - told_at > TELL_SECONDS:
                service.log.error("signing-failed", error=type(error).__name__, message=str(error))
                told_at = trio.current_time()
            await service.pause(back_off.next())


async def _sign_under_lease(service: Service, pin: Pin) -> bool:
    """Take the lease and sign; True when nothing was left, False where something else ended it or another has it."""
    with _alone_in_home(service) as alone:
        lease = await trio.to_thread.run_sync(_take, service) if alone else None
        if lease is None:
            return await _wait_for_the_other(service)
        try:
            return await _sign_until_ended(service, pin, lease)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_give_back, service, lease)


async def _wait_for_the_other(service: Service) -> bool:
    """Leave the share to whoever has it for a while; with `--once`, say whether it has nothing left."""
    if service.arguments.once:
        await service.pause(WATCH_SECONDS)
        return await trio.to_thread.run_sync(_nothing_left, service)
    service.log.info("another-signs", share=service.arguments.share)
    await service.pause(LEASE_SECONDS / 6)
    return False


def _nothing_left(service: Service) -> bool:
    work = PreSigning(service.context, _responder(service), service.arguments.share)
    return not work.owed(1) and not work.due(1) and work.new(None).read_until is None


@contextmanager
def _alone_in_home(service: Service) -> Iterator[bool]:
    """Keep other processes of this home from the share; False where one has it. One that was killed has it no more."""
    with ExitStack() as held:
        try:
            name = _name(service).replace("/", "-")
            held.enter_context(service.context.home.lock(name, "signing OCSP answers ahead"))
        except HomeUnusable:
            yield False
        else:
            yield True


async def _sign_until_ended(service: Service, pin: Pin, lease: Lease) -> bool:
    responder = await trio.to_thread.run_sync(_responder, service)
    context = service.context
    token = await trio.to_thread.run_sync(open_token_again, context.home, context.configuration)
    await trio.to_thread.run_sync(prove_key, token, pin, responder.role)
    async with trio.open_nursery() as nursery:
        ended = trio.Event()
        for watch in (_until_stopped, _keep_lease, _watch_responder):
            nursery.start_soon(watch, service, lease, responder, ended)
        work = PreSigning(context, responder, service.arguments.share)
        await _sign(service, token, pin, work, responder, ended)
        nursery.cancel_scope.cancel()
    return not ended.is_set()


async def _sign(
    service: Service,
    token: Token,
    pin: Pin,
    work: PreSigning,
    responder: OcspResponderCertificate,
    ended: trio.Event,
) -> None:
    configuration, key = service.context.configuration, responder.role.key
    sessions = service.arguments.sessions or configuration.ocsp.sessions
    opened = open_pool(service.context.home, configuration, token, pin, [key], sessions, batch=BATCH)
    async with opened as pool:
        algorithm = service.context.authority.issuer.algorithm

        async def sign(messages: Sequence[bytes], lane: Lane) -> list[bytes | TokenError]:
            await _while_drained(service, ended)
            return await pool.sign_many(messages, key=key, algorithm=algorithm, lane=lane)

        once = service.arguments.once
        if not once:
            service.log.info("signing", share=service.arguments.share, sessions=sessions)
        with observe_pool(service.control, pool, service.context):
            async with trio.open_nursery() as nursery:
                for pipeline in (UrgentAnswerPipeline, AnswerPipeline):
                    stored = service.metrics.counter(PRE_SIGNED, lane=pipeline.lane.label).add
                    nursery.start_soon(pipeline(work, sign, ended, once=once, stored=stored).run)


async def _while_drained(service: Service, ended: trio.Event) -> None:
    """Keep the pool, which a drain has emptied, instead of opening another in its place again and again."""
    while DRAINED in service.control.orders and not ended.is_set():
        with trio.move_on_after(WATCH_SECONDS):
            await ended.wait()


async def _until_stopped(service: Service, _: Lease, __: OcspResponderCertificate, ended: trio.Event) -> None:
    await service.stop.wait()
    ended.set()


async def _keep_lease(service: Service, lease: Lease, _: OcspResponderCertificate, ended: trio.Event) -> None:
    """Renew the lease; when another has it, end after what is in hand: its answers are as good as the other's."""
    while True:
        await trio.sleep(LEASE_SECONDS / 3)
        if await trio.to_thread.run_sync(_take, service) is None:
            service.log.warning("lease-lost", lease=lease.name)
            ended.set()


async def _watch_responder(
    service: Service, _: Lease, responder: OcspResponderCertificate, ended: trio.Event
) -> None:
    while True:
        await trio.sleep(RESPONDER_CHECK_SECONDS)
        if (await trio.to_thread.run_sync(_responder, service)).number != responder.number:
            service.log.info("responder-changed")
            ended.set()


def _name(service: Service) -> str:
    place, count = service.arguments.share
    return f"pre-signing/{place}/{count}"


def _take(service: Service) -> Lease | None:
    now = service.context.clock.now()
    # The same for every process of this home, of which a lock lets in one: a restart need not wait for a lease.
    holder = service.context.home.holder
    with service.context.store.write() as connection:
        until = now + timedelta(seconds=LEASE_SECONDS)
        return take_lease(connection, _name(service), holder=holder, now=now, until=until)


def _give_back(service: Service, lease: Lease) -> None:
    # Where the record is away the lease ends by itself, and what ended the signing, such as a wrong PIN, is told.
    with suppress(StoreError), service.context.store.write() as connection:
        give_back(connection, lease, service.context.clock.now())


def _responder(service: Service) -> OcspResponderCertificate:
    context = service.context
    with context.store.read() as connection:
        responders = ocsp_responders(connection, context.authority.issuer.algorithm)
    responder = responder_in_charge(responders, context.clock.now())
    if responder is None:
        raise HomeUnusable("no OCSP responder certificate is valid now", place=str(context.home.certificates))
    return responder


def _share(text: str) -> tuple[int, int]:
    place, count = map(int, text.split("/"))
    if not 0 <= place < count:
        raise ValueError(text)
    return place, count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this process beside the home."""
    parser.add_argument(
        "--share", type=_share, default=(0, 1), help="which of how many signers this is, such as 0/2"
    )
    parser.add_argument("--once", action="store_true", help="end when nothing is left to sign")
    parser.add_argument("--sessions", type=int)


if __name__ == "__main__":
    run_service("pre-signer", serve, add_arguments)
