"""Planned pauses of the service, announced as news (CPS 2.2.1.4, 2.6.4)."""

from __future__ import annotations

from datetime import datetime

from engine.clock import TAIPEI
from engine.errors import InputRejected
from engine.publication.moments import in_taipei
from engine.publication.wording import Wording


def with_pause(wording: Wording, begins_at: datetime, ends_at: datetime) -> Wording:
    """Return news whose texts begin with the times of a pause, in both languages alike.

    Raises:
        InputRejected: the pause does not end after it begins.
    """
    if ends_at <= begins_at:
        raise InputRejected(
            "the pause ends before it begins",
            place="pause-until",
            value=in_taipei(ends_at),
            rule=f"after {in_taipei(begins_at)}",
        )
    first, last = (f"{time.astimezone(TAIPEI):%Y-%m-%d %H:%M}" for time in (begins_at, ends_at))
    return wording.with_lines(
        f"暫停服務：{first} 至 {last}（臺灣時間）", f"Service paused: {first} to {last} (Taiwan time)"
    )
