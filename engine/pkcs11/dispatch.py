"""The pool: a fixed number of sessions, two lanes of waiting chunks, and one plain function that brings them together.

Everything here runs in the event loop and nothing here waits for the token. State changes happen in functions
without `await`, so they need no lock. Opening, closing and watching is `session_supply.py`; the way in is
`open_session_pool` in `session_pool.py`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio
from pkcs11.exceptions import PKCS11Error

from engine.errors import KeyMismatch, PoolClosed, SignerFailed, SignerUnavailable, TokenError
from engine.pkcs11.chunk import Batch, Chunk
from engine.pkcs11.chunk_queue import ChunkQueue
from engine.pkcs11.lanes import Lane
from engine.pkcs11.return_codes import name_of
from engine.pkcs11.return_values import Disposition, disposition_of, translate
from engine.pkcs11.statistics import PoolStatistics, SessionCounts, SessionStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.algorithms import SignatureAlgorithm
    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.lanes import Arbiter
    from engine.pkcs11.session_thread import PooledSession, Result


class PoolExhausted(SignerFailed):
    """So many sessions are stuck inside the module that only a new process helps.

    The process must exit and be replaced. The stuck threads are daemons, so an ordinary exit is not held up by them;
    a module whose own exit handlers wait for its calls needs `os._exit`.
    """


@dataclass(slots=True)
class Running:
    """A chunk on a session, with what the watchdog last saw of it."""

    chunk: Chunk
    calls_seen: int
    seen_at: float


class SessionPool:
    """Signs with any of its sessions. Made by `open_session_pool`; methods are for the event loop only.

    Args:
        place: the token, for messages.
        keys: the keys every session has looked up.
        size: how many sessions it should have.
        chunk: messages a session gets at once, at most.
        max_waiting: messages that may wait in each lane.
        max_stuck: so many sessions stuck at once end the pool.
        arbiter: tells how many calls may be in flight.
    """

    def __init__(
        self,
        *,
        place: str,
        keys: Sequence[KeyReference],
        size: int,
        chunk: int,
        max_waiting: int,
        max_stuck: int,
        arbiter: Arbiter,
    ) -> None:
        self.size = size
        self._place = place
        self._keys = frozenset(keys)
        self._chunk = chunk
        self._max_stuck = max_stuck
        self._arbiter = arbiter
        self._queue = ChunkQueue(max_waiting)
        self._idle: deque[PooledSession] = deque()
        self._busy: dict[PooledSession, Running] = {}
        self._leaving: dict[PooledSession, str] = {}  # "closing" or "stuck"
        self._counts: dict[PooledSession, SessionCounts] = {}
        self._gone = SessionCounts()
        self._ended: TokenError | None = None
        self._unavailable: TokenError | None = None
        self._replacements = 0
        self._stuck_ever = 0
        self.changed = trio.lowlevel.ParkingLot()  # those who wait for a session to come or go
        arbiter.when_changed(self._assign)

    # ---- for whoever signs ----

    async def sign_many(
        self,
        messages: Sequence[bytes],
        *,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane = Lane.BULK,
    ) -> list[bytes | TokenError]:
        """Sign messages over the pool's sessions and return one outcome each, in order.

        An outcome is the signature (for ECDSA in DER) or the error of this one message: `SignerUnavailable` if it may
        be tried again, `SignerFailed` if not. If the pool ends or is closed meanwhile, messages not yet signed get
        that error as their outcome, so no signature already made is lost.

        Cancellation ends only the waiting. What a session has begun it finishes, and goes back to the pool; chunks not
        yet begun are taken out of the queue. Signatures made for a cancelled call are lost to it: sign again.

        Raises:
            KeyMismatch: the pool was opened without this key.
            Overloaded: not so many more messages may wait in the lane; none was accepted. A call longer than
                the bound is always refused.
            SignerUnavailable: no session is open at present; later one may be.
            SignerFailed: the pool has ended for good; `PoolExhausted` if the process must be replaced.
            PoolClosed: the pool is closed.
        """
        return await self._sign(messages, False, key, algorithm, lane)

    async def sign_digests(
        self,
        digests: Sequence[bytes],
        *,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane = Lane.BULK,
    ) -> list[bytes | TokenError]:
        """Sign what was hashed already with the algorithm's hash: what is too large to hand over, such as a CRL.

        PKCS#1 v1.5 signs the DigestInfo with CKM_RSA_PKCS (RFC 8017 section 9.2), PSS the digest with
        CKM_RSA_PKCS_PSS, ECDSA with CKM_ECDSA. Without digests it tells whether the pool could sign now.

        Outcomes, cancellation and errors are those of `sign_many`; besides, a token without that mechanism ends the
        pool with a `SignerFailed` that names it.

        Raises:
            ValueError: a digest does not have the length of the algorithm's hash: a defect of the caller, which the
                token could not see.
        """
        octets = hashlib.new(algorithm.hash_name).digest_size
        if any(len(digest) != octets for digest in digests):
            raise ValueError(f"a digest does not have the {octets} octets of {algorithm.hash_name}")
        return await self._sign(digests, True, key, algorithm, lane)

    async def _sign(
        self,
        messages: Sequence[bytes],
        are_digests: bool,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane,
    ) -> list[bytes | TokenError]:
        self._check(key)
        if not messages:
            await trio.lowlevel.checkpoint()
            return []
        self._queue.admit(lane, len(messages))
        batch = Batch(len(messages))
        now = trio.current_time()
        for start in range(0, len(messages), self._chunk):
            part = messages[start : start + self._chunk]
            self._queue.append(Chunk(batch, start, part, are_digests, key, algorithm, lane, now))
        self._assign()
        try:
            return await batch.outcomes()
        except trio.Cancelled:
            batch.abandoned = True
            self._queue.withdraw(batch)
            raise

    def _check(self, key: KeyReference) -> None:
        # A new object each time: an exception that is raised again and again collects tracebacks.
        for error in (self._ended, self._unavailable):
            if error is not None:
                raise type(error)(error.message, place=error.place, rule=error.rule) from error.__cause__
        if key not in self._keys:
            raise KeyMismatch(f"the pool was opened without the key {key}", place=self._place)

    def statistics(self) -> PoolStatistics:
        """Return the pool's numbers as they stand."""
        total = SessionCounts()
        for counts in (self._gone, *self._counts.values()):
            total.merge(counts)
        return PoolStatistics(
            sessions=tuple(
                SessionStatistics(
                    session.number, self._state(session), counts.signing.summary(), dict(counts.errors)
                )
                for session, counts in self._counts.items()
            ),
            signing=total.signing.summary(),
            errors=dict(total.errors),
            replacements=self._replacements,
            stuck=self.stuck,
            stuck_ever=self._stuck_ever,
            waiting=dict(self._queue.waiting),
            waiting_peak=dict(self._queue.peak),
            waited={lane: durations.summary() for lane, durations in self._queue.waited.items()},
        )

    def _state(self, session: PooledSession) -> str:
        return self._leaving.get(session) or ("busy" if session in self._busy else "idle")

    # ---- sessions and chunks ----

    def _assign(self) -> None:
        """Give waiting chunks to idle sessions, as far as the arbiter allows: the one place where they meet."""
        while self._idle and self._ended is None:
            chunk = self._queue.next(self._may_begin, trio.current_time())
            if chunk is None:
                return
            session = self._idle.popleft()
            self._busy[session] = Running(chunk, session.calls, trio.current_time())
            session.sign(chunk, partial(self._finished, session, chunk))

    def _may_begin(self, lane: Lane) -> bool:
        return len(self._busy) < self._arbiter.calls_allowed(lane)

    def _finished(self, session: PooledSession, chunk: Chunk, result: Result[Exception | None]) -> None:
        """A session's thread has come back from a chunk."""
        if self._busy.pop(session, None) is None:
            return  # it was stuck: its chunk went elsewhere long ago, and it closes now
        error = result.error or result.value
        done = self._settle(session, chunk)
        if session in self._leaving:  # the pool is being closed
            self._hand_over(chunk, done, None)
        elif error is None:
            self._idle.append(session)
        else:
            self._after_error(session, chunk, done, error)
        self._assign()

    def _settle(self, session: PooledSession, chunk: Chunk) -> int:
        """Deliver what a chunk has so far, count it, and return how many messages that is."""
        outcomes = chunk.outcomes[:]  # the thread of a stuck session may append one more at any time
        chunk.batch.deliver(chunk.start, outcomes)
        counts = self._counts[session]
        counts.signing.add(chunk.durations_ns[: len(outcomes)])
        counts.errors.update(chunk.errors[:])
        return len(outcomes)

    def _after_error(self, session: PooledSession, chunk: Chunk, done: int, error: Exception) -> None:
        self._retire(session, "closing")
        if not isinstance(error, PKCS11Error):
            message = f"signing failed in a way it never should: {error!r}"
            broken: TokenError = (
                error if isinstance(error, TokenError) else SignerFailed(message, place=self._place)
            )
            broken.__cause__ = broken.__cause__ or error
            self.end(broken)
        elif disposition_of(error) is Disposition.STOP:
            self.end(translate(error, place=self._place))
        self._hand_over(
            chunk, done, translate(error, place=self._place) if isinstance(error, PKCS11Error) else None
        )

    def _hand_over(self, chunk: Chunk, done: int, error: TokenError | None) -> None:
        """Let another session do the rest of a chunk whose session failed.

        The message at which it failed may itself be the reason, so it gets only so many sessions: each of the
        pool's may be dead, as after a restart, and two fresh ones may fail.
        """
        if chunk.batch.abandoned:
            return
        attempts = 1 if done else chunk.attempts + 1
        rest = chunk.rest(done, trio.current_time(), attempts)
        if self._ended is not None:
            self._fail(rest, self._ended)
            return
        if attempts > self.size + 2:
            message = f"{attempts} sessions in turn failed at this message"
            outcome = SignerUnavailable(message, place=self._place)
            outcome.__cause__ = error
            rest.batch.deliver(rest.start, [outcome])
            rest = rest.rest(1, trio.current_time(), 0)
        if rest.messages:
            self._queue.put_back(rest)

    def _fail(self, chunk: Chunk, error: TokenError) -> None:
        chunk.batch.deliver(chunk.start, [error] * len(chunk.messages))

    # ---- for the supply ----

    @property
    def missing(self) -> int:
        """How many sessions should be opened now."""
        return 0 if self._ended else self.size - len(self._idle) - len(self._busy)

    @property
    def stuck(self) -> int:
        """How many sessions are stuck now."""
        return sum(state == "stuck" for state in self._leaving.values())

    @property
    def is_empty(self) -> bool:
        """Whether every session has been closed, but for those that are stuck."""
        return len(self._counts) == self.stuck

    @property
    def ended(self) -> TokenError | None:
        """Why the pool takes no more work, if so."""
        return self._ended

    def register(self, session: PooledSession) -> None:
        """Know a session that is about to be opened; from now on it is in the statistics until it has closed."""
        self._counts[session] = SessionCounts()
        self._leaving[session] = "closing"  # not yet of use

    def add(self, session: PooledSession, *, replacement: bool) -> None:
        """Take a registered session into service."""
        self._replacements += replacement
        self._unavailable = None
        del self._leaving[session]
        self._idle.append(session)
        self._assign()
        self.changed.unpark_all()

    def discard(self, session: PooledSession, *, stuck: bool = False) -> None:
        """Close a registered session that could not be opened, or that is stuck in opening."""
        self._retire(session, "stuck" if stuck else "closing")
        if stuck:
            self._count_stuck()

    def no_session(self, error: TokenError) -> None:
        """No session could be opened just now. If none is left, what waits fails: a queue never grows silently."""
        if isinstance(error.__cause__, PKCS11Error):
            self._gone.errors[name_of(error.__cause__)] += 1
        if not self._idle and not self._busy:
            self._unavailable = error
            for chunk in self._queue.drain():
                self._fail(chunk, error)

    def look_for_stuck(self, now: float, call_timeout: float) -> None:
        """Mark the sessions that made no call for longer than the timeout, and hand their work over.

        A stuck session is told to close once it comes back; until then it is left alone, keeps its place under
        the cap, and counts against `max_stuck`.
        """
        for session, running in list(self._busy.items()):
            if session.calls != running.calls_seen:
                running.calls_seen, running.seen_at = session.calls, now
            elif now - running.seen_at >= call_timeout:
                del self._busy[session]
                running.chunk.withdrawn = True
                done = self._settle(session, running.chunk)
                self._retire(session, "stuck")
                self._count_stuck()
                self._hand_over(running.chunk, done, None)
        self._assign()

    def _count_stuck(self) -> None:
        self._stuck_ever += 1
        if self.stuck >= self._max_stuck:
            message = f"{self.stuck} sessions are stuck inside the module"
            rule = f"at {self._max_stuck} the process is replaced"
            self.end(PoolExhausted(message, place=self._place, rule=rule))

    def _retire(self, session: PooledSession, state: str) -> None:
        self._leaving[session] = state
        session.close(partial(self._closed, session))
        self.changed.unpark_all()

    def _closed(self, session: PooledSession) -> None:
        del self._leaving[session]
        self._gone.merge(self._counts.pop(session))
        self.changed.unpark_all()

    def end(self, error: TokenError) -> None:
        """Take no more work: what waits fails with the error, what runs goes on. The first error stands."""
        if self._ended is None:
            self._ended = error
            for chunk in self._queue.drain():
                self._fail(chunk, error)
            self.changed.unpark_all()

    def close(self) -> None:
        """End the pool and close every session; one that runs a chunk first finishes the message it is at."""
        self.end(PoolClosed("the session pool is closed", place=self._place))
        for running in self._busy.values():
            running.chunk.withdrawn = True
        for session in (*self._idle, *self._busy):
            self._retire(session, "closing")
        self._idle.clear()
