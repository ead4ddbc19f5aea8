"""Chunks that wait, sessions that are free, and one plain function that brings them together.

Everything here runs in the event loop and nothing here waits for the token. State changes happen in functions
without `await`, so they need no lock. Which sessions there are is `session_roster.py`; opening, closing and watching
is `session_supply.py`; the way in is `pool.py`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import trio
from pkcs11.exceptions import PKCS11Error

from engine.errors import PoolClosed, SignerFailed, SignerUnavailable, TokenError
from engine.pkcs11.return_codes import name_of
from engine.pkcs11.return_values import Disposition, disposition_of, translate
from engine.pkcs11.session_roster import Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.pkcs11.arbiter import Arbiter
    from engine.pkcs11.chunk import Chunk
    from engine.pkcs11.chunk_queue import ChunkQueue
    from engine.pkcs11.lanes import Lane
    from engine.pkcs11.session_roster import SessionRoster
    from engine.pkcs11.session_thread import PooledSession, Result


class PoolExhausted(SignerFailed):
    """So many sessions are stuck inside the module that only a new process helps.

    The process must exit and be replaced. The stuck threads are daemons, so an ordinary exit is not held up by them;
    a module whose own exit handlers wait for its calls needs `os._exit`.
    """


class Dispatch:
    """Brings chunks to sessions and outcomes back, for one pool.

    Args:
        place: the token, for messages.
        roster: the pool's sessions.
        queue: the pool's chunks.
        chunk: messages a session gets at once, at most.
        max_stuck: so many sessions stuck at once end the pool.
        arbiter: tells how many calls may be in flight.
    """

    def __init__(
        self,
        place: str,
        roster: SessionRoster,
        queue: ChunkQueue,
        *,
        chunk: int,
        max_stuck: int,
        arbiter: Arbiter,
    ) -> None:
        self.roster = roster
        self.ended: TokenError | None = None
        self._place = place
        self._queue = queue
        self._chunk = chunk
        self._max_stuck = max_stuck
        self._arbiter = arbiter
        self._unavailable: TokenError | None = None
        arbiter.when_changed(self.assign)

    @property
    def refusal(self) -> TokenError | None:
        """Why no work is taken now, if so."""
        if self.ended is None and self.roster.drained:
            return SignerUnavailable("the session pool is drained", place=self._place)
        return self.ended or self._unavailable

    def assign(self) -> None:
        """Give waiting chunks to idle sessions, as far as the arbiter allows: the one place where they meet."""
        now = trio.current_time()
        while (lane := self._arbiter.choose(self._queue.wants(len(self.roster.idle), now))) is not None:
            chunk = self._queue.take(lane, self._chunk_size(lane), now)
            expected = self._queue.counts[lane].call_seconds * len(chunk.messages)
            session = self.roster.begin(Running(chunk, now, expected))
            self._arbiter.begun(lane, expected)
            session.sign(chunk, partial(self._finished, session, chunk))

    def _chunk_size(self, lane: Lane) -> int:
        """How many messages a session gets: what waits is shared by the idle ones, and none is held too long."""
        share = -(-self._queue.waiting[lane] // len(self.roster.idle))
        hold, call_seconds = self._arbiter.longest_hold(lane), self._queue.counts[lane].call_seconds
        if hold < math.inf:
            share = min(share, int(hold / call_seconds) if call_seconds else 1)
        return max(1, min(share, self._chunk))

    # ---- what comes back ----

    def _finished(self, session: PooledSession, chunk: Chunk, result: Result[Exception | None]) -> None:
        """A session's thread has come back from a chunk."""
        running = self.roster.came_back(session)
        if running is None:
            return  # it was stuck: its chunk went elsewhere long ago, and it closes now
        error = result.error or result.value
        done = self._settle(session, running)
        if error is None:
            self.roster.put_back(session)
            self._hand_over(chunk, done, chunk.attempts)
        else:
            self._after_error(session, chunk, done, error)
        self.assign()

    def _settle(self, session: PooledSession, running: Running) -> int:
        """Deliver what a chunk has so far, count it, and return how many messages that is."""
        chunk, now = running.chunk, trio.current_time()
        outcomes = chunk.outcomes[:]  # the thread of a stuck session may append one more at any time
        durations = chunk.durations_ns[: len(outcomes)]
        chunk.batch.deliver(chunk.start, outcomes)
        self.roster.count(session, durations, chunk.errors[:])
        self._queue.came_back(chunk, durations, now)
        self._arbiter.ended(chunk.lane, running.expected, now - running.begun_at, now - chunk.queued_at)
        return len(outcomes)

    def _after_error(self, session: PooledSession, chunk: Chunk, done: int, error: Exception) -> None:
        self.roster.retire(session)
        cause = translate(error, place=self._place) if isinstance(error, PKCS11Error) else None
        if cause is None:
            message = f"signing failed in a way it never should: {error!r}"
            broken = error if isinstance(error, TokenError) else SignerFailed(message, place=self._place)
            broken.__cause__ = broken.__cause__ or error
            self.end(broken)
        elif isinstance(error, PKCS11Error) and disposition_of(error) is Disposition.STOP:
            self.end(cause)
        self._hand_over(chunk, done, chunk.attempts + 1, cause)

    def _hand_over(self, chunk: Chunk, done: int, attempts: int, error: TokenError | None = None) -> None:
        """Let another session do what is left of a chunk.

        The message at which it failed may itself be the reason, so it gets only so many sessions: each of the
        pool's may be dead, as after a restart, and two fresh ones may fail.

        Args:
            chunk: what a session had in hand.
            done: how many of its messages have their outcome.
            attempts: how many sessions have failed now at its first message.
            error: what the last one failed with.
        """
        if chunk.batch.abandoned or done == len(chunk.messages):
            return
        if done:  # the message that stands first now met no session before this one
            attempts -= chunk.attempts
        rest = chunk.rest(done, trio.current_time(), attempts)
        if self.ended is not None or self.roster.drained:
            self._fail([rest])
            return
        if attempts > self.roster.size + 2:
            message = f"{attempts} sessions in turn failed at this message"
            outcome = SignerUnavailable(message, place=self._place)
            outcome.__cause__ = error
            rest.batch.deliver(rest.start, [outcome])
            rest = rest.rest(1, trio.current_time(), 0)
        if rest.messages:
            self._queue.put_back(rest)

    def _fail(self, chunks: Sequence[Chunk]) -> None:
        """Give every message of the chunks the reason why no work is taken as its outcome."""
        refusal = self.refusal
        if refusal is not None:
            for chunk in chunks:
                chunk.batch.deliver(chunk.start, [refusal] * len(chunk.messages))

    # ---- what goes wrong, and how it ends ----

    def is_available(self) -> None:
        """Take work again: there is a session."""
        self._unavailable = None
        self.assign()

    def no_session(self, error: TokenError) -> None:
        """No session could be opened just now. If none is left, what waits fails: a queue never grows silently."""
        if isinstance(error.__cause__, PKCS11Error):
            self.roster.gone.errors[name_of(error.__cause__)] += 1
        if not self.roster.idle and not self.roster.busy:
            self._unavailable = error
            self._fail(self._queue.drain())

    def look_for_stuck(self, now: float, call_timeout: float) -> None:
        """Mark the sessions that made no call for longer than the timeout, and hand their work over.

        A stuck session is told to close once it comes back; until then it is left alone, keeps its place under
        the cap, and counts against `max_stuck`.
        """
        for session in self.roster.silent(now, call_timeout):
            running = self.roster.busy.pop(session)
            chunk = running.chunk
            chunk.withdrawn = True
            done = self._settle(session, running)
            self.is_stuck(session)
            self._hand_over(chunk, done, chunk.attempts + 1)
        self.assign()

    def check_idle(self) -> None:
        """Ask the token about the sessions that are idle: one that died is replaced before work comes for it."""
        for session in self.roster.begin_check():
            session.check(partial(self._checked, session))

    def _checked(self, session: PooledSession, result: Result[None]) -> None:
        error = result.error
        idle = self.roster.end_check(session)
        if idle and isinstance(error, PKCS11Error) and disposition_of(error) is Disposition.REPLACE:
            self.roster.count(session, [], [name_of(error)])
            self.roster.idle.remove(session)
            self.roster.retire(session)

    def is_stuck(self, session: PooledSession) -> None:
        """Count a session as stuck; the pool ends if there are too many."""
        self.roster.retire(session, "stuck")
        if self.roster.stuck >= self._max_stuck:
            message = f"{self.roster.stuck} sessions are stuck inside the module"
            rule = f"at {self._max_stuck} the process is replaced"
            self.end(PoolExhausted(message, place=self._place, rule=rule))

    def end(self, error: TokenError) -> None:
        """Take no more work: what waits fails with the error, what runs goes on. The first error stands."""
        if self.ended is None:
            self.ended = error
            self._fail(self._queue.drain())
            self.roster.changed.unpark_all()

    def drain(self) -> None:
        """Let what waits fail, as the pool is drained."""
        self._fail(self._queue.drain())

    def close(self) -> None:
        """End, and close every session; one that runs a chunk first finishes the message it is at."""
        self.end(PoolClosed("the session pool is closed", place=self._place))
        for running in self.roster.busy.values():
            running.chunk.withdrawn = True
        self.roster.retire_all()
