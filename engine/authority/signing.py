"""Opening the configured token, and the small pools that sign for the authority itself.

Whatever the operations key signs is announced in the audit log first, with its digest, so that every signature the
token ever made can be accounted for.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from engine.algorithms import SignatureAlgorithm
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.config import Configuration
from engine.errors import SignerFailed, SignerUnavailable, TokenError
from engine.fault_points import fault_point
from engine.home import Home
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lane_table import LaneTable
from engine.pkcs11.lanes import WEIGHTS, Lane, LaneRules
from engine.pkcs11.log_in_lock import one_process_at_a_time
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import SessionPool, open_session_pool
from engine.pkcs11.session_slots import SessionSlots
from engine.pkcs11.shared_arbiter import SharedArbiter
from engine.pkcs11.token import Token, find_token
from engine.store.database import Store

Sign = Callable[[bytes], Awaitable[bytes]]

AUTHORITY_ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
"""With what audit and operations keys sign: both are RSA-2048 (CPS 6.1.5)."""

MAX_WAITING = 8_192
"""Messages that may wait in a lane: two units of the largest size a policy allows."""

PIN_PROMPT = "prompt"
"""As the PIN file: nobody wrote the PIN down, somebody types it (CPS 6.4.2)."""

CHUNK = 64
"""Signatures that a session makes before it is given back: at 0.6 ms each an urgent signature waits 40 ms at most
(bench.issuance: larger chunks gain nothing)."""


def read_pin(configuration: Configuration) -> Pin:
    """Return the token's PIN: from the configured file, or asked for at the terminal.

    Raises:
        ConfigurationInvalid: the file is missing, empty, or readable by others.
    """
    if configuration.token.pin_file == PIN_PROMPT:
        return Pin.from_prompt(f"PIN of token {configuration.token.label}: ")
    return Pin.from_file(Path(configuration.token.pin_file))


def open_token(home: Home, configuration: Configuration) -> Token:
    """Load the module, with locking forced, and find the token.

    Raises:
        TokenError: the module cannot be loaded, or the token is not there.
    """
    with one_process_at_a_time(home.log_in_lock):
        module = load_module(configuration.token.module, configuration.token.environment)
        return find_token(
            module,
            label=configuration.token.label,
            serial=configuration.token.serial,
            log_in_lock=home.log_in_lock,
        )


def open_token_again(home: Home, configuration: Configuration) -> Token:
    """As `open_token`, for a process that will try again: a token that is not there may come back.

    Raises:
        SignerUnavailable: the module cannot be loaded, or the token is not there. The PIN was not used.
    """
    try:
        return open_token(home, configuration)
    except SignerFailed as error:
        raise SignerUnavailable(
            error.message, place=error.place, value=error.value, rule=error.rule
        ) from error


def session_slots(home: Home, token: Token) -> SessionSlots | None:
    """Return the slots that keep all processes below the token's own cap; None where it names none."""
    most = token.limits().max_sessions
    return None if most is None else SessionSlots(home.session_slots, most)


def lane_rules(configuration: Configuration) -> LaneRules:
    """Return what each lane is worth, as configured."""
    own = {str(label): weight for label, weight in configuration.lanes.weights.items()}
    return LaneRules(weights={lane: own.get(lane.label, WEIGHTS[lane]) for lane in Lane})


def join_lanes(home: Home, configuration: Configuration) -> SharedArbiter | None:
    """Take a pool's place among those that share the token; the caller closes it. None where lanes are off.

    Raises:
        SignerUnavailable: there is no place, or the table cannot be made.
    """
    lanes = configuration.lanes
    if not lanes.enabled:
        return None
    try:
        table = LaneTable(home.lane_table)
    except OSError as error:
        raise SignerUnavailable(
            "the table of lanes cannot be joined", place=str(home.lane_table), value=error.strerror
        ) from error
    return SharedArbiter(
        table, lane_rules(configuration), parallel=lanes.parallel, live_objective=lanes.live_objective
    )


@asynccontextmanager
async def open_pool(
    home: Home,
    configuration: Configuration,
    token: Token,
    pin: Pin,
    keys: Sequence[KeyReference],
    sessions: int,
    *,
    batch: int = 1,
) -> AsyncIterator[SessionPool]:
    """Open a session pool as configured; it shares the token with every other pool of the home.

    Args:
        home: where the sessions of all processes are counted.
        configuration: time limit and tolerance.
        token: the open token.
        pin: its PIN.
        keys: the keys that the pool signs with.
        sessions: how many sessions.
        batch: how many messages are handed over at a time; a session never gets more.

    Raises:
        TokenError: as `open_session_pool` raises it.
    """
    arbiter = join_lanes(home, configuration)
    try:
        async with open_session_pool(
            token,
            pin,
            keys=keys,
            size=sessions,
            chunk=min(CHUNK, batch),
            call_timeout=configuration.token.call_timeout,
            max_stuck=configuration.token.max_stuck,
            max_waiting=MAX_WAITING,
            arbiter=arbiter,
            slots=session_slots(home, token),
            timeouts={Lane.LIVE: configuration.ocsp.live_timeout},
        ) as pool:
            yield pool
    finally:
        if arbiter is not None:
            arbiter.close()


@asynccontextmanager
async def open_signer(
    home: Home, configuration: Configuration, token: Token, pin: Pin, keys: Sequence[KeyReference]
) -> AsyncIterator[Callable[[KeyReference, SignatureAlgorithm], Sign]]:
    """Open one session that signs single messages for the authority itself, in the lane of CRLs.

    Yields:
        A function that gives the signer of a key and algorithm. A signer raises TokenError.
    """
    async with open_pool(home, configuration, token, pin, keys, 1) as pool:

        def signer(key: KeyReference, algorithm: SignatureAlgorithm) -> Sign:
            async def sign(message: bytes) -> bytes:
                (outcome,) = await pool.sign_many([message], key=key, algorithm=algorithm, lane=Lane.CRL)
                if isinstance(outcome, TokenError):
                    raise outcome
                return outcome

            return sign

        yield signer


def announced(sign: Sign, store: Store, clock: Clock, *, actor: str, purpose: str) -> Sign:
    """Return a signer that announces each message in the audit log before it is signed.

    Args:
        sign: signs with the operations key.
        store: the open store.
        clock: tells the time of the record.
        actor: who asks for the signature.
        purpose: what is signed.
    """

    def announce(message: bytes) -> None:
        with store.write() as connection:
            append_record(
                connection,
                clock,
                Event.OPERATIONS_SIGNATURE_INTENDED,
                actor=actor,
                body={"purpose": purpose, "message_sha256": hashlib.sha256(message).hexdigest()},
            )

    async def announce_and_sign(message: bytes) -> bytes:
        await trio.to_thread.run_sync(announce, message)
        fault_point("operations.announced")
        return await sign(message)

    return announce_and_sign
