"""A new OCSP responder in time: before the certificate of the one in charge ends, a new key and certificate take over.

Answers signed by the old one stay good: each names the certificate it needs, and the status store keeps both. The new
key is made in the token; the CA certifies it as it did the first one (RFC 6960 section 4.2.2.2).
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta

import trio
from sqlalchemy import select

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.authority_issuance import AuthorityIssuance
from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import OCSP_ROLE, ocsp_responders, responder_in_charge
from engine.authority.signing import open_token_again
from engine.errors import KeyMismatch, LeaseLost, PinIncorrect, SealmintError, StoreError, the_sealmint_error
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair, public_key_info
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.status.service import Service
from engine.store.leases import Lease, give_back, take_lease
from engine.store.schema import audit_record

LEASE_NAME = "responder-renewal"
LEASE_TIME = timedelta(minutes=5)
"""How long others wait for one that died. A guess: making a key takes seconds."""

LOOK_SECONDS = 3_600.0
"""Between two looks whether a renewal is due. A guess: there are weeks for it."""

RETRY_SECONDS = 60.0
"""After a renewal that failed. A guess: where no responder is left, nothing is answered until it succeeds."""


def renewal_is_due(context: AuthorityContext) -> bool:
    """Return whether the responder in charge ends soon, or there is none that is valid.

    A responder cannot outlive its CA: where the newest one ends with the CA certificate already, nothing is due.
    """
    now = context.clock.now()
    with context.store.read() as connection:
        responders = ocsp_responders(connection, context.authority.issuer.algorithm)
    in_charge = responder_in_charge(responders, now)
    if in_charge is None:
        return now < context.authority.issuer.not_after
    ahead = timedelta(days=context.configuration.ocsp.certificate_renewal_days)
    return in_charge.not_after - now < ahead and in_charge.not_after < context.authority.issuer.not_after


async def renew_responder(
    context: AuthorityContext, token: Token, pin: Pin, *, only_if_due: bool = False
) -> str | None:
    """Make a new OCSP key in the token and certify it.

    Args:
        context: the home.
        token: the open token.
        pin: its PIN.
        only_if_due: do nothing where another has done it meanwhile.

    Returns:
        The new role, or None where nothing was due.

    Raises:
        LeaseLost: another process is at it.
        TokenError: the token refused.
        StoreError: the store did.

    Cancelled or killed at any point, it is finished by calling it again: a key that was made is taken.
    """
    lease = await trio.to_thread.run_sync(_take, context)
    try:
        if only_if_due and not await trio.to_thread.run_sync(renewal_is_due, context):
            return None
        return await _renew(context, token, pin)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_give_back, context, lease)


async def _renew(context: AuthorityContext, token: Token, pin: Pin) -> str:
    with context.store.read() as connection:
        issued = ocsp_responders(connection, context.authority.issuer.algorithm)
    role = f"{OCSP_ROLE}-{len(issued) + 1}"
    await trio.to_thread.run_sync(_make_key, context, token, pin, role)
    issuance = AuthorityIssuance(
        context.home,
        context.configuration,
        context.store,
        context.clock,
        token,
        pin,
        context.actor,
        lambda step: None,
    )
    await issuance.issue_ocsp_responder(role)
    return role


def _take(context: AuthorityContext) -> Lease:
    """Two at once would make two keys of one name."""
    now = context.clock.now()
    holder = f"{context.home.holder}:{os.getpid()}"
    with context.store.write() as connection:
        lease = take_lease(connection, LEASE_NAME, holder=holder, now=now, until=now + LEASE_TIME)
    if lease is None:
        raise LeaseLost("another process makes a new OCSP responder now", place=f"lease {LEASE_NAME}")
    return lease


def _give_back(context: AuthorityContext, lease: Lease) -> None:
    # Where the record is away the lease ends by itself, and what ended the renewal, such as a wrong PIN, is told.
    with suppress(StoreError), context.store.write() as connection:
        give_back(connection, lease, context.clock.now())


def _make_key(context: AuthorityContext, token: Token, pin: Pin, label: str) -> None:
    try:
        public_key = public_key_info(token, pin, KeyReference(label))
    except KeyMismatch:
        public_key = generate_key_pair(token, pin, KeyReference(label), KeyType.RSA_2048)  # CPS 6.3.2.1
    _record_key(context, label, public_key)


def _record_key(context: AuthorityContext, label: str, public_key: bytes) -> None:
    """Append the record of a key, unless it has one: whoever made it may have been killed before that."""
    made = select(audit_record.c.sequence).where(
        audit_record.c.event == Event.KEY_GENERATED.record_name,
        audit_record.c.body.contains(public_key.hex()),
    )
    with context.store.write() as connection:
        if connection.execute(made).first() is None:
            append_record(
                connection,
                context.clock,
                Event.KEY_GENERATED,
                actor=context.actor,
                body={"label": label, "type": "rsa-2048", "public_key": public_key.hex()},
            )


async def renew_in_time(service: Service, pin: Pin) -> None:
    """Look now and then whether a renewal is due, and do it, until told to stop.

    What fails is told in the log and tried again, whatever it is: the process has CRLs to publish meanwhile, and a
    renewal begins weeks ahead.

    Args:
        service: the process; it may sign with the CA key.
        pin: the token's PIN.

    Raises:
        PinIncorrect: the token refused the PIN, which is never repeated.
    """
    context = service.context
    while not service.stop.is_set():
        pause = LOOK_SECONDS
        try:
            if await trio.to_thread.run_sync(renewal_is_due, context):
                token = await trio.to_thread.run_sync(open_token_again, context.home, context.configuration)
                role = await renew_responder(context, token, pin, only_if_due=True)
                service.log.info("responder-renewed", role=role)
        except (SealmintError, BaseExceptionGroup) as raised:
            error = the_sealmint_error(raised)
            if isinstance(error, PinIncorrect):
                raise
            service.log.error("responder-not-renewed", error=type(error).__name__, message=str(error))
            pause = RETRY_SECONDS
        await service.pause(pause)
