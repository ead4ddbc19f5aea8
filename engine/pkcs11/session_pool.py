"""The way in: opening a pool of sessions on a token, and closing it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from engine.errors import SignerFailed
from engine.pkcs11.arbiter import Arbiter, InProcessArbiter
from engine.pkcs11.dispatch import PoolExhausted
from engine.pkcs11.pool import SessionPool
from engine.pkcs11.session_supply import SessionSupply, TokenSessionSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from engine.pkcs11.anchor import Anchor
    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.lanes import Lane
    from engine.pkcs11.pin import Pin
    from engine.pkcs11.session_slots import SessionSlots
    from engine.pkcs11.token import Token

__all__ = ["PoolExhausted", "SessionPool", "open_session_pool"]

CHUNK = 32
"""Messages a session gets at once. At 32 all that the pool adds to a signature is 5 to 7 µs of CPU, hops to
threads included (tests/pkcs11/measure_sign_call.py); at 0.6 ms a signature (SoftHSM, RSA-2048) urgent work waits
20 ms for a session."""


@asynccontextmanager
async def open_session_pool(
    token: Token,
    pin: Pin,
    *,
    keys: Sequence[KeyReference],
    size: int,
    chunk: int = CHUNK,
    call_timeout: float,
    max_stuck: int,
    max_waiting: int,
    arbiter: Arbiter | None = None,
    slots: SessionSlots | None = None,
    timeouts: Mapping[Lane, float] | None = None,
) -> AsyncIterator[SessionPool]:
    """Open a fixed pool of sessions on a token; close it when the block ends.

    Sessions are opened one by one; the first that cannot be opened closes the others and raises. One more session,
    the anchor, logs in; the others are opened without a PIN. Their number is capped by the token's own maximum and
    by the free slots, both of which the anchor counts against too; at least one must remain.

    A session that fails is replaced, after a restart of the token with a new log-in: one attempt with the PIN. A
    refused PIN ends the pool for good. A call that does not come back leaves its session stuck and its unfinished
    messages to another session. Leaving the block stops each session after the message it is at, and waits for
    that no longer than the call timeout; cancellation does the same. A session still stuck then is left to its
    daemon thread.

    Args:
        token: the token.
        pin: the user's PIN, kept as long as the pool lives, for a log-in after a restart.
        keys: the private keys to sign with; each session looks each up once.
        size: sessions wanted, the anchor not counted.
        chunk: messages a session gets at once, at most.
        call_timeout: seconds after which a signature that has not come back makes its session stuck.
        max_stuck: so many sessions stuck at once end the pool with `PoolExhausted`.
        max_waiting: messages that may wait in each lane.
        arbiter: who says how many calls may be in flight; None = as many as there are sessions.
        slots: the places under the cap over all processes; None = this process is alone on the token.
        timeouts: seconds after which those who wait in a lane give up, where they do: no more are let in than are
            signed within that, as fast as the token is then.

    Raises:
        PinIncorrect: the token refused the PIN.
        KeyMismatch: a key is missing or may not sign.
        NoFreePlace: no place under the cap is free.
        SignerUnavailable: the token cannot open the sessions now.
        SignerFailed: it refuses.
    """
    place = f"token {token.label}"
    limits = await trio.to_thread.run_sync(token.limits, abandon_on_cancel=True)
    arbiter = arbiter or InProcessArbiter()
    pool = SessionPool(
        place=place,
        keys=keys,
        size=_capped(size, limits.max_sessions, place),
        chunk=chunk,
        max_waiting=max_waiting,
        max_stuck=max_stuck,
        arbiter=arbiter,
        timeouts=timeouts,
    )
    source = TokenSessionSource(token, pin, keys, slots)
    supply = SessionSupply(pool, source, place)
    try:
        await supply.fill()
        async with run_pool(supply, arbiter, call_timeout):
            yield pool
    finally:
        with trio.move_on_after(call_timeout, shield=True):
            await _shut(pool, source.anchor)


def _capped(size: int, most: int | None, place: str) -> int:
    if most is None:
        return size
    if most < 2:
        rule = "a pool needs two: one that signs and the anchor"
        raise SignerFailed("the token allows too few sessions", place=place, value=most, rule=rule)
    return min(size, most - 1)


@asynccontextmanager
async def run_pool(supply: SessionSupply, arbiter: Arbiter, call_timeout: float) -> AsyncIterator[None]:
    """Run the tasks of supply and arbiter while the block runs. What the block raises comes out not as a group."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supply.keep_filled)
        nursery.start_soon(supply.watch, call_timeout)
        nursery.start_soon(supply.check_idle)
        nursery.start_soon(arbiter.run)
        try:
            yield
        except BaseException as error:  # raised again below, outside the nursery
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _shut(pool: SessionPool, anchor: Anchor) -> None:
    """Close every session, then the anchor, so that the log-in outlives them."""
    pool.close()
    try:
        while not pool.is_empty:
            await pool.changed.park()
    finally:
        closed = trio.Event()
        anchor.close(closed.set)
    await closed.wait()
