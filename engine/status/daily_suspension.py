"""The daily round of the 18-month rule (CPS 4.4.5(4), (5)): once a day, by one host."""

from __future__ import annotations

from datetime import datetime, timedelta

import trio

from engine.authority.context import AuthorityContext
from engine.errors import SealmintError
from engine.status.crl_schedule import daily_moment
from engine.status.non_acceptance import suspend_unaccepted
from engine.status.service import Service
from engine.store.leases import take_lease

LEASE_NAME = "non-acceptance"

ROUND_TIME = timedelta(hours=20)
"""How long the host that made a day's round keeps others from making it again; less than the day to the next."""

POLL_SECONDS = 60.0
"""Between two looks at the clock: a day is missed by a minute at most. After a failure, too."""


async def suspend_every_day(service: Service) -> None:
    """Apply the rule when the process starts, and after each daily moment of the CRLs, until told to stop.

    A round that fails is told in the log and made again. Cancelled, it finishes the transaction in hand.
    """
    context, made = service.context, None
    while not service.stop.is_set():
        moment = daily_moment(context.clock.now(), context.configuration.crl.daily_at)
        if moment != made and await _round(service):
            made = moment
        await service.pause(POLL_SECONDS)


async def _round(service: Service) -> bool:
    """Make a round unless another host has the day's; return whether it went well."""
    context = service.context
    try:
        if await trio.to_thread.run_sync(_take, context, context.clock.now()):
            suspended = await suspend_unaccepted(context.store, context.clock, context.actor)
            service.log.info("unaccepted-suspended", certificates=suspended)
    except SealmintError as error:
        service.log.error("suspension-failed", error=type(error).__name__, message=str(error))
        return False
    return True


def _take(context: AuthorityContext, now: datetime) -> bool:
    holder = context.home.holder
    with context.store.write() as connection:
        lease = take_lease(connection, LEASE_NAME, holder=holder, now=now, until=now + ROUND_TIME)
    return lease is not None
