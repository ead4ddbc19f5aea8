"""The sessions of a pool: which there are, what each is doing, and how many there should be.

Plain functions for the event loop, none of which waits: opening and closing take place elsewhere. A session is *in
service* while it is idle or has a chunk in hand and is on no way out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from engine.errors import InputRejected
from engine.pkcs11.statistics import SessionCounts, SessionStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.pkcs11.chunk import Chunk
    from engine.pkcs11.session_thread import PooledSession


@dataclass(slots=True)
class Running:
    """A chunk on a session, with what the watchdog last saw of it."""

    chunk: Chunk
    begun_at: float
    expected: float
    """Seconds it was to take."""
    calls_seen: int = -1
    seen_at: float = 0.0


class SessionRoster:
    """Sessions by what they do.

    Args:
        size: how many there should be.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.drained = False
        self.idle: deque[PooledSession] = deque()
        self.busy: dict[PooledSession, Running] = {}
        self.counts: dict[PooledSession, SessionCounts] = {}
        self.gone = SessionCounts()
        self.replacements = 0
        self._to_come = size  # sessions whose opening replaces none
        self.stuck_ever = 0
        self.changed = trio.lowlevel.ParkingLot()  # those who wait for a session to come or go
        self._leaving: dict[PooledSession, str] = {}  # "opening", "closing" or "stuck"
        self._checked: set[PooledSession] = set()
        self._quarantined: set[PooledSession] = set()

    # ---- what there is ----

    @property
    def wanted(self) -> int:
        """How many sessions should be in service."""
        return 0 if self.drained else self.size

    @property
    def in_service(self) -> int:
        """How many sessions sign, or would."""
        away = sum(session in self._leaving or session in self._quarantined for session in self.busy)
        return len(self.idle) + len(self.busy) - away

    @property
    def stuck(self) -> int:
        """How many sessions are stuck now."""
        return sum(state == "stuck" for state in self._leaving.values())

    @property
    def is_empty(self) -> bool:
        """Whether every session has been closed, but for those that are stuck."""
        return len(self.counts) == self.stuck

    def statistics(self, now: float) -> tuple[SessionStatistics, ...]:
        """Return each session's numbers."""
        return tuple(
            SessionStatistics(
                number=session.number,
                state=self._state(session),
                in_flight=self.busy[session].chunk.lane if session in self.busy else None,
                open_seconds=now - counts.opened_at,
                signing=counts.signing.summary(),
                errors=dict(counts.errors),
            )
            for session, counts in self.counts.items()
        )

    def _state(self, session: PooledSession) -> str:
        if session in self._leaving:
            return self._leaving[session]
        if session in self._quarantined:
            return "quarantined"
        return "busy" if session in self.busy else "idle"

    # ---- coming and going ----

    def register(self, session: PooledSession, now: float) -> None:
        """Know a session that is about to be opened; from now on it has numbers until it has closed."""
        self.counts[session] = SessionCounts()
        self.counts[session].opened_at = now
        self._leaving[session] = "opening"  # not yet of use

    def add(self, session: PooledSession) -> None:
        """Take a registered session into service, if it is still wanted."""
        if self._to_come:
            self._to_come -= 1
        else:
            self.replacements += 1
        del self._leaving[session]
        self.idle.append(session)
        self._shed()
        self.changed.unpark_all()

    def retire(self, session: PooledSession, state: str = "closing") -> None:
        """Let a session, idle no more, close after what it has in hand; `state` is "closing" or "stuck".

        One that is on its way out already needs no second word, except that it may turn out to be stuck.
        """
        told = self._leaving.get(session) == "closing"
        self.stuck_ever += state == "stuck"
        self._quarantined.discard(session)
        self._leaving[session] = state
        if not told:
            session.close(partial(self._closed, session))
        self.changed.unpark_all()

    def _closed(self, session: PooledSession) -> None:
        del self._leaving[session]
        self.gone.merge(self.counts.pop(session))
        self.changed.unpark_all()

    def retire_all(self) -> None:
        """Let every session close that is not on its way already."""
        idle = [*self.idle, *self._quarantined.difference(self.busy)]
        self.idle.clear()
        for session in (*idle, *(session for session in self.busy if session not in self._leaving)):
            self.retire(session)

    # ---- work ----

    def count(self, session: PooledSession, durations_ns: Sequence[int], errors: Sequence[str]) -> None:
        """Count the calls a session made, and the CKR names it met."""
        self.counts[session].signing.add(durations_ns)
        self.counts[session].errors.update(errors)

    def begin(self, running: Running) -> PooledSession:
        """Give the session that has been idle longest a chunk to hold; the caller hands it over."""
        session = self.idle.popleft()
        running.calls_seen, running.seen_at = session.calls, running.begun_at
        self.busy[session] = running
        return session

    def came_back(self, session: PooledSession) -> Running | None:
        """Take a session's chunk from it; None if it was stuck and had none any more."""
        return self.busy.pop(session, None)

    def put_back(self, session: PooledSession) -> None:
        """Let a session that came back be idle, unless it is on its way out or in quarantine."""
        if session not in self._leaving and session not in self._quarantined:
            self.idle.append(session)

    def begin_check(self) -> list[PooledSession]:
        """Return the idle sessions, but for those whose check has not ended."""
        fresh = [session for session in self.idle if session not in self._checked]
        self._checked.update(fresh)
        return fresh

    def end_check(self, session: PooledSession) -> bool:
        """Note that a check ended; tell whether the session is idle still."""
        self._checked.discard(session)
        return session in self.idle

    def silent(self, now: float, call_timeout: float) -> list[PooledSession]:
        """Note which sessions gave a sign of life, and return those that gave none for longer than the timeout."""
        silent = []
        for session, running in self.busy.items():
            if session.calls != running.calls_seen:
                running.calls_seen, running.seen_at = session.calls, now
            elif now - running.seen_at >= call_timeout:
                silent.append(session)
        return silent

    # ---- the operator ----

    def resize(self, sessions: int) -> None:
        """Want so many sessions, at least one. See `SessionPool.resize`."""
        if sessions < 1:
            raise InputRejected("a pool cannot have so few sessions", value=sessions, rule="0 or more")
        self.size = sessions
        self.undrain()
        self._shed()

    def drain(self) -> None:
        """Want no sessions. See `SessionPool.drain`."""
        self.drained = True
        self._to_come = 0
        self.retire_all()

    def undrain(self) -> None:
        """Want the sessions again that were asked for last."""
        self.drained = False
        self._to_come = max(0, self.size - self.in_service)
        self.changed.unpark_all()

    def quarantine(self, number: int) -> None:
        """Take a session out of service. See `SessionPool.quarantine`."""
        session = self._by_number(number)
        self._quarantined.add(session)
        if session in self.busy:
            self.busy[session].chunk.withdrawn = True
        elif session in self.idle:
            self.idle.remove(session)
        self.changed.unpark_all()

    def release(self, number: int) -> None:
        """Take a session back into service. See `SessionPool.release`."""
        session = self._by_number(number)
        if session not in self._quarantined:
            raise InputRejected("the session is not in quarantine", value=number)
        self._quarantined.remove(session)
        if session not in self.busy:
            self.idle.append(session)
        self._shed()

    def _by_number(self, number: int) -> PooledSession:
        for session in self.counts:
            if session.number == number and session not in self._leaving:
                return session
        open_now = sorted(session.number for session in self.counts if session not in self._leaving)
        raise InputRejected("there is no such session", value=number, rule=f"one of {open_now}")

    def _shed(self) -> None:
        """Let the sessions close that are too many: idle ones first, then the newest of the others."""
        for _ in range(self.in_service - self.wanted):
            staying = [
                session
                for session in self.busy
                if session not in self._leaving and session not in self._quarantined
            ]
            self.retire(self.idle.pop() if self.idle else max(staying, key=lambda session: session.number))
