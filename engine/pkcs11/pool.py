"""The pool as those see it who sign with it, and those who steer it.

What it does with sessions and chunks is `dispatch.py`; a pool is opened by `open_session_pool` in `session_pool.py`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import trio

from engine.errors import KeyMismatch, TokenError
from engine.pkcs11.chunk import Batch, Chunk
from engine.pkcs11.chunk_queue import ChunkQueue
from engine.pkcs11.dispatch import Dispatch
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_roster import SessionRoster
from engine.pkcs11.statistics import PoolStatistics, SessionCounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.algorithms import SignatureAlgorithm
    from engine.pkcs11.arbiter import Arbiter
    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.session_thread import PooledSession


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
        timeouts: seconds after which those who wait in a lane give up, where they do.
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
        timeouts: Mapping[Lane, float] | None = None,
    ) -> None:
        self._place = place
        self._keys = frozenset(keys)
        self._queue = ChunkQueue(max_waiting, timeouts or {}, trio.current_time())
        self._roster = SessionRoster(size)
        self._dispatch = Dispatch(
            place, self._roster, self._queue, chunk=chunk, max_stuck=max_stuck, arbiter=arbiter
        )
        self._arbiter = arbiter
        self.changed = self._roster.changed  # those who wait for a session to come or go

    # ---- for whoever signs ----

    async def sign_many(
        self,
        messages: Sequence[bytes],
        *,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane = Lane.ISSUANCE,
        waiting_since: float | None = None,
    ) -> list[bytes | TokenError]:
        """Sign messages over the pool's sessions and return one outcome each, in order.

        An outcome is the signature (for ECDSA in DER) or the error of this one message: `SignerUnavailable` if it may
        be tried again, `SignerFailed` if not. If the pool ends, is drained or is closed meanwhile, messages not yet
        signed get that error as their outcome, so no signature already made is lost.

        Cancellation ends only the waiting. What a session has begun it finishes, and goes back to the pool; chunks not
        yet begun are taken out of the queue. Signatures made for a cancelled call are lost to it: sign again.

        Args:
            messages: what to sign.
            key: with which key.
            algorithm: how.
            lane: whose work it is.
            waiting_since: trio's time at which the first of them began to wait, if not now: it counts as having
                waited in the lane since then.

        Raises:
            KeyMismatch: the pool was opened without this key.
            Overloaded: not so many more messages may wait in the lane; none was accepted. A call longer than
                the bound is always refused.
            SignerUnavailable: no session is open at present, or the pool is drained; later one may be.
            SignerFailed: the pool has ended for good; `PoolExhausted` if the process must be replaced.
            PoolClosed: the pool is closed.
        """
        return await self._sign(messages, False, key, algorithm, lane, waiting_since)

    async def sign_digests(
        self,
        digests: Sequence[bytes],
        *,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        lane: Lane = Lane.ISSUANCE,
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
        waiting_since: float | None = None,
    ) -> list[bytes | TokenError]:
        self._check(key)
        if not messages:
            await trio.lowlevel.checkpoint()
            return []
        self._queue.admit(lane, len(messages), self.size)
        batch = Batch(len(messages))
        since = trio.current_time() if waiting_since is None else waiting_since
        self._queue.append(Chunk(batch, 0, messages, are_digests, key, algorithm, lane, since))
        self._dispatch.assign()
        try:
            return await batch.outcomes()
        except trio.Cancelled:
            batch.abandoned = True
            self._queue.withdraw(batch)
            raise

    def _check(self, key: KeyReference) -> None:
        refusal = self._dispatch.refusal
        if refusal is not None:
            # A new object each time: an exception that is raised again and again collects tracebacks.
            again = type(refusal)(refusal.message, place=refusal.place, rule=refusal.rule)
            raise again from refusal.__cause__
        if key not in self._keys:
            raise KeyMismatch(f"the pool was opened without the key {key}", place=self._place)

    @property
    def size(self) -> int:
        """How many sessions were asked for last."""
        return self._roster.size

    def most_waiting(self, lane: Lane) -> int:
        """Return how many messages may wait in a lane: no more than are signed while their callers wait."""
        return self._queue.most_waiting(lane, self.size)

    @property
    def ended(self) -> TokenError | None:
        """Why the pool takes no more work for good, if so."""
        return self._dispatch.ended

    @property
    def stuck(self) -> int:
        """How many sessions are stuck now."""
        return self._roster.stuck

    def statistics(self) -> PoolStatistics:
        """Return the pool's numbers as they stand."""
        total, now, roster = SessionCounts(), trio.current_time(), self._roster
        for counts in (roster.gone, *roster.counts.values()):
            total.merge(counts)
        return PoolStatistics(
            size=roster.size,
            wanted=roster.wanted,
            drained=roster.drained,
            sessions=roster.statistics(now),
            lanes=self._queue.statistics(now),
            signing=total.signing.summary(),
            errors=dict(total.errors),
            replacements=roster.replacements,
            stuck=roster.stuck,
            stuck_ever=roster.stuck_ever,
            arbiter=self._arbiter.statistics(),
        )

    # ---- for the operator ----

    def resize(self, sessions: int) -> None:
        """Have so many sessions from now on; they come and go by and by. 0 is `drain`, any other number ends a drain.

        Sessions that are too many close after the chunk they have in hand. Where the token or the cap on sessions
        allows fewer, the pool goes on trying for the others.

        Raises:
            InputRejected: fewer than none.
        """
        if sessions == 0:
            self.drain()
        else:
            self._roster.resize(sessions)

    def drain(self) -> None:
        """Close all sessions after what they have in hand, and refuse work with `SignerUnavailable` until undrained.

        What waits fails with the same error.
        """
        self._roster.drain()
        self._dispatch.drain()

    def undrain(self) -> None:
        """Open the sessions again that were asked for last."""
        self._roster.undrain()

    def quarantine(self, number: int) -> None:
        """Give a session no more work; it stays open, and another takes its place.

        It finishes the message it is at; what else it has in hand goes to another session.

        Raises:
            InputRejected: no session of this number is in service.
        """
        self._roster.quarantine(number)

    def release(self, number: int) -> None:
        """Let a session out of quarantine. What is too many then closes.

        Raises:
            InputRejected: no session of this number is in quarantine.
        """
        self._roster.release(number)
        self._dispatch.assign()

    # ---- for the supply ----

    @property
    def missing(self) -> int:
        """How many sessions should be opened now."""
        return 0 if self.ended else max(0, self._roster.wanted - self._roster.in_service)

    @property
    def is_empty(self) -> bool:
        """Whether every session has been closed, but for those that are stuck."""
        return self._roster.is_empty

    def register(self, session: PooledSession) -> None:
        """Know a session that is about to be opened; from now on it is in the statistics until it has closed."""
        self._roster.register(session, trio.current_time())

    def add(self, session: PooledSession) -> None:
        """Take a registered session into service."""
        self._roster.add(session)
        self._dispatch.is_available()

    def discard(self, session: PooledSession, *, stuck: bool = False) -> None:
        """Close a registered session that could not be opened, or that is stuck in opening."""
        if stuck:
            self._dispatch.is_stuck(session)
        else:
            self._roster.retire(session)

    def no_session(self, error: TokenError) -> None:
        """No session could be opened just now. If none is left, what waits fails: a queue never grows silently."""
        self._dispatch.no_session(error)

    def look_for_stuck(self, now: float, call_timeout: float) -> None:
        """Mark the sessions that made no call for longer than the timeout, and hand their work over."""
        self._dispatch.look_for_stuck(now, call_timeout)

    def check_idle(self) -> None:
        """Ask the token about the sessions that are idle: one that died is replaced before work comes for it."""
        self._dispatch.check_idle()

    def end(self, error: TokenError) -> None:
        """Take no more work: what waits fails with the error, what runs goes on. The first error stands."""
        self._dispatch.end(error)

    def close(self) -> None:
        """End the pool and close every session; one that runs a chunk first finishes the message it is at."""
        self._dispatch.close()
