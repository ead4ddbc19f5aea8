"""Sessions that live in the event loop and sign when the test says so.

For tests where the order of events is the point. No thread runs here, so trio's autojump clock may be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.pkcs11.arbiter import Arbiter, InProcessArbiter
from engine.pkcs11.chunk import Chunk
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_pool import SessionPool
from engine.pkcs11.session_thread import Result

KEY = KeyReference("scripted")


class ScriptedSession:
    """A `PooledSession` whose chunk is signed message by message, by `sign_one`."""

    def __init__(self, number: int, failures: list[Exception] | None = None) -> None:
        self.number = number
        self.calls = 0
        self.chunk: Chunk | None = None
        self.is_closed = False
        self.found_dead: Exception | None = None
        self._failures = failures or []
        self._finished: Callable[[Result[Exception | None]], None] = lambda _: None
        self._closed: Callable[[], None] | None = None

    async def open(self) -> None:
        if self._failures:
            raise self._failures.pop(0)

    def sign(self, chunk: Chunk, finished: Callable[[Result[Exception | None]], None]) -> None:
        assert self.chunk is None
        self.chunk, self._finished = chunk, finished

    def check(self, checked: Callable[[Result[None]], None]) -> None:
        checked(Result(error=self.found_dead))

    def close(self, closed: Callable[[], None]) -> None:
        self._closed = closed
        self._close_if_free()

    def sign_one(self) -> None:
        """The token signs the next message of the chunk; after the last, or once withdrawn, the chunk is finished."""
        assert self.chunk is not None
        self.chunk.outcomes.append(b"signed " + self.chunk.messages[len(self.chunk.outcomes)])
        self.chunk.durations_ns.append(1000)
        self.calls += 1
        if len(self.chunk.outcomes) == len(self.chunk.messages) or self.chunk.withdrawn:
            self.come_back(None)

    def sign_all(self) -> None:
        """The token signs what the chunk has left."""
        chunk = self.chunk
        while self.chunk is chunk is not None:
            self.sign_one()

    def come_back(self, error: Exception | None) -> None:
        """The thread comes back from the chunk, early if with an error."""
        self.chunk = None
        self._finished(Result(error))
        self._close_if_free()

    def _close_if_free(self) -> None:
        if self._closed is not None and self.chunk is None and not self.is_closed:
            self.is_closed = True
            self._closed()


def scripted_pool(
    sessions: int,
    *,
    chunk: int = 4,
    max_waiting: int = 100,
    max_stuck: int = 2,
    arbiter: Arbiter | None = None,
    timeouts: Mapping[Lane, float] | None = None,
) -> tuple[SessionPool, list[ScriptedSession]]:
    """A pool with its sessions in service."""
    pool = SessionPool(
        place="scripted token",
        keys=[KEY],
        size=sessions,
        chunk=chunk,
        max_waiting=max_waiting,
        max_stuck=max_stuck,
        arbiter=arbiter or InProcessArbiter(),
        timeouts=timeouts,
    )
    made = [ScriptedSession(number + 1) for number in range(sessions)]
    for session in made:
        pool.register(session)
        pool.add(session)
    return pool, made
