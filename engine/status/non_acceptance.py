"""The 18-month rule: what was not accepted in time is suspended (CPS 4.4.5(4), (5)).

Direct issuance counts from the last certificate of the run (choice 2), an application from each certificate. A
scheduled act, to be called once a day. It places its hold once on a certificate: what was resumed on a written
application (CPS 4.4.9) is left alone.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import partial

import trio

from engine.clock import TAIPEI, Clock
from engine.status.act_request import Act
from engine.status.acts import ActResult, StatusActs
from engine.status.grounds import NOT_ACCEPTED, find_ground
from engine.status.origins import Origin, Scope, Verb
from engine.store.database import Store
from engine.store.unaccepted import Unaccepted, runs_in_question, unaccepted_certificates
from engine.x509.periods import Period
from engine.x509.serial_numbers import time_of

TIME_TO_ACCEPT = Period(18)
"""一年半 (CPS 4.4.5(4), (5)), in calendar months of Taipei time (choice 12)."""

AT_ONCE = 500
"""Certificates in one transaction; as in a file of acts."""

_DAY = timedelta(days=1)
_LONGEST_MONTH = timedelta(days=31)


def is_overdue(counted_from: datetime, now: datetime) -> bool:
    """Say whether the time to accept has passed.

    The day on which it begins is not counted (Civil Code article 120), so it ends with the day of the same number 18
    months later, or with the last of a month that has no such day (article 121).

    Args:
        counted_from: the issuance that counts.
        now: the time of the question.
    """
    begins = counted_from.astimezone(TAIPEI)
    return now.astimezone(TAIPEI).date() > TIME_TO_ACCEPT.after(begins).date()


def overdue_before(now: datetime) -> datetime:
    """Return the time before which every issuance is overdue, and from which none is: a midnight in Taipei."""
    today = datetime.combine(now.astimezone(TAIPEI).date(), time(), TAIPEI)
    day = today - TIME_TO_ACCEPT.months * _LONGEST_MONTH
    while is_overdue(day, now):
        day += _DAY
    return day


async def suspend_unaccepted(store: Store, clock: Clock, actor: str) -> int:
    """Suspend every certificate whose time to accept has passed, each by an act of its own.

    Cancelled, it finishes the transaction in hand and leaves the others to the next call.

    Args:
        store: the record.
        clock: tells what has passed.
        actor: who called, for the record.

    Returns:
        How many were suspended.

    Raises:
        StoreError, AuditFailed, ClockWrong: the transactions before stay done.
    """
    acts = StatusActs(store, clock, actor)
    now = clock.now()
    runs = await trio.to_thread.run_sync(_runs, store, overdue_before(now))
    suspended = after = 0
    while runs and (batch := await trio.to_thread.run_sync(partial(_next, store, runs, now, after))):
        after = batch[-1].item_id
        due = [one for one in batch if not one.counts_alone or is_overdue(time_of(one.serial), now)]
        if due:
            outcomes = await trio.to_thread.run_sync(acts.perform_together, list(map(_suspension, due)))
            suspended += sum(isinstance(outcome, ActResult) for outcome in outcomes)
    return suspended


def _runs(store: Store, cutoff: datetime) -> list[int]:
    with store.read() as connection:
        return runs_in_question(connection, cutoff)


def _next(store: Store, runs: list[int], now: datetime, after: int) -> list[Unaccepted]:
    origin = Origin.NON_ACCEPTANCE.value
    with store.read() as connection:
        return unaccepted_certificates(
            connection, runs, origin=origin, now=now, after_item=after, limit=AT_ONCE
        )


def _suspension(overdue: Unaccepted) -> Act:
    ground = find_ground(Verb.SUSPEND, NOT_ACCEPTED)
    subject = overdue.serial.hex().upper()
    return Act(Verb.SUSPEND, Scope.CERTIFICATE, subject, ground, Origin.NON_ACCEPTANCE)
