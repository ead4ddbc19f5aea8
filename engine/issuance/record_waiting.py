"""Waiting for a record that is away, or that takes no audit record, and going on by itself when it is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from engine.authority.back_off import BackOff
from engine.errors import AuditFailed, ClockWrong, StoreUnavailable

PASSING = (StoreUnavailable, AuditFailed, ClockWrong)
"""What ends without anybody touching the run: the database comes back, the audit log takes records again (CPS 4.5.6),
the clock is set. Nothing is issued meanwhile."""

T = TypeVar("T")


async def once_possible(work: Callable[[], T], stop: trio.Event) -> T:
    """Do something with the record on a thread, again and again while the record is away.

    Args:
        work: what may be done twice: a commit whose answer was lost may have been kept.
        stop: set when the record is not to be waited for any longer.

    Returns:
        What the work returned.

    Raises:
        StoreUnavailable: still away when it was time to stop; or AuditFailed, or ClockWrong.
        SealmintError: any other error of the work, at once.

    Cancelled, the attempt under way is waited for.
    """
    back_off = BackOff()
    while True:
        try:
            return await trio.to_thread.run_sync(work)
        except PASSING:
            if stop.is_set():
                raise
        with trio.move_on_after(back_off.next()):
            await stop.wait()
