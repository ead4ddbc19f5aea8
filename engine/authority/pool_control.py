"""What can be asked of a running pool of sessions, and done to it, over the control socket of its process.

    pool                                           what it does
    pool-resize      {"sessions": 4}               another number of sessions; ends a drain
    pool-quarantine  {"session": 3}                the session gets no more work; another takes its place
                     {"session": 3, "release": true}
    pool-drain       {}  or  {"undo": true}        no session and no work, until undone

A change is recorded first, by the process that obeys; if it cannot be recorded, nothing changes (CPS 4.5.6). Size and
drain hold as long as the process lives, for a pool that it opens later too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.context import AuthorityContext
from engine.authority.pool_document import pool_document
from engine.control.messages import Document
from engine.control.server import Handler
from engine.errors import InputRejected
from engine.pkcs11.session_pool import SessionPool

MOST_SESSIONS = 256
"""Of a pool: what `[issuance].sessions` allows; the token's own maximum caps it further."""


SIZE, DRAINED = "pool size", "pool drained"
"""What stands in the orders of a process."""


def pool_handlers(
    pool: SessionPool, context: AuthorityContext, name: str, orders: dict[str, int]
) -> Mapping[str, Handler]:
    """Return what answers each verb, and have the pool obey what stands in the orders already.

    Args:
        pool: the open pool.
        context: whose record the changes go into, and by whom.
        name: of the process.
        orders: what the process was told; sizes and drains are noted there.
    """
    if SIZE in orders:
        pool.resize(orders[SIZE])
    if DRAINED in orders:
        pool.drain()
    control = PoolControl(pool, context, name, orders)
    return {
        "pool": control.look,
        "pool-resize": control.resize,
        "pool-quarantine": control.quarantine,
        "pool-drain": control.drain,
    }


class PoolControl:
    """Answers the verbs of one pool; the arguments are those of `pool_handlers`.

    A verb that changes something raises InputRejected where it is asked for nonsense, and AuditFailed, ClockWrong or
    StoreError where the change could not be recorded. Two changes do not overlap.
    """

    def __init__(
        self, pool: SessionPool, context: AuthorityContext, name: str, orders: dict[str, int]
    ) -> None:
        self._pool = pool
        self._context = context
        self._name = name
        self._orders = orders
        self._changing = trio.Lock()

    async def look(self, _: Document) -> Document:
        """Return the pool's statistics."""
        return pool_document(self._pool)

    async def resize(self, arguments: Document) -> Document:
        """Give the pool another number of sessions, and return it as it is then: sessions come and go by and by."""
        sessions = _whole_number(arguments, "sessions", least=1, most=MOST_SESSIONS)
        body = {"change": "resize", "from": self._pool.statistics().size, "to": sessions}

        def act() -> None:
            self._pool.resize(sessions)
            self._orders[SIZE] = sessions
            self._orders.pop(DRAINED, None)  # a number of sessions ends a drain

        return await self._change(arguments, body, act)

    async def quarantine(self, arguments: Document) -> Document:
        """Give a session no more work, or some again."""
        number, release = _whole_number(arguments, "session", least=1), _flag(arguments, "release")
        states = {session.number: session.state for session in self._pool.statistics().sessions}
        if number not in states:
            rule = f"one of {', '.join(map(str, sorted(states)))}" if states else "the pool has no session"
            raise InputRejected("there is no such session", place=self._name, value=number, rule=rule)
        body = {"change": "release" if release else "quarantine", "session": number, "was": states[number]}
        act = self._pool.release if release else self._pool.quarantine
        return await self._change(arguments, body, lambda: act(number))

    async def drain(self, arguments: Document) -> Document:
        """Close all sessions after what they have in hand and take no work, or open them again."""
        undo = _flag(arguments, "undo")
        body = {"change": "undrain" if undo else "drain", "size": self._pool.statistics().size}

        def act() -> None:
            if undo:
                self._pool.undrain()
                self._orders.pop(DRAINED, None)
            else:
                self._pool.drain()
                self._orders[DRAINED] = True

        return await self._change(arguments, body, act)

    async def _change(
        self, arguments: Document, body: Mapping[str, object], act: Callable[[], None]
    ) -> Document:
        async with self._changing:
            full = {"process": self._name, "asked_by": arguments["asked_by"], **body}
            await trio.to_thread.run_sync(self._record, full)
            act()  # at once: nothing comes between the record and what it says
            return pool_document(self._pool)

    def _record(self, body: Mapping[str, object]) -> None:
        context = self._context
        with context.store.write() as connection:
            append_record(connection, context.clock, Event.POOL_CHANGED, actor=context.actor, body=body)


def _whole_number(arguments: Document, name: str, *, least: int, most: int | None = None) -> int:
    value: Any = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
        rule = f"a whole number, {least} or more" if most is None else f"a whole number, {least} to {most}"
        raise InputRejected("the argument is wrong", place=name, value=value, rule=rule)
    return value


def _flag(arguments: Document, name: str) -> bool:
    value: Any = arguments.get(name, False)
    if not isinstance(value, bool):
        raise InputRejected("the argument is wrong", place=name, value=value, rule="true or false")
    return value
