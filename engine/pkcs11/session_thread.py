"""A session's own thread, and the session as the pool sees it.

Not trio's worker threads: a call that never comes back must neither hold one of a limited number of threads nor keep
the process from ending, so the thread is a daemon. Its results go to the loop with one hop each (`run_sync_soon`).
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import trio

from engine.pkcs11.session import TokenSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.pkcs11.chunk import Chunk
    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.session_slots import HeldSlot
    from engine.pkcs11.token import Token

T = TypeVar("T")


class Result(Generic[T]):
    """What a call on a thread came to: a value, or the exception it raised."""

    def __init__(self, value: T | None = None, error: Exception | None = None) -> None:
        self.value = value
        self.error = error

    def unwrap(self) -> T:
        """Return the value or raise the exception."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error the value is there, be it None


class SessionThread:
    """A daemon thread that performs calls one after the other. Made inside the event loop.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Result[Any]], None]] | None] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, call: Callable[[], T], done: Callable[[Result[T]], None]) -> None:
        """Queue a call for the thread; `done` gets its result in the event loop."""
        self._calls.put((call, done))

    async def run(self, call: Callable[[], T]) -> T:
        """Let the thread perform a call and wait for its result. If cancelled, the call goes on unheeded."""
        results: list[Result[T]] = []
        came = trio.Event()

        def done(result: Result[T]) -> None:
            results.append(result)
            came.set()

        self.submit(call, done)
        await came.wait()
        return results[0].unwrap()

    def finish(self) -> None:
        """Let the thread end after the calls queued so far."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, done = item
            try:
                result = Result(call())
            except Exception as error:  # the loop decides what each one means
                result = Result(error=error)
            try:
                self._loop.run_sync_soon(done, result)
            except trio.RunFinishedError:
                continue  # the loop is gone; what is still queued only closes sessions


class PooledSession(Protocol):
    """A session as the pool sees it: nothing here blocks, every callback comes in the event loop."""

    number: int

    @property
    def calls(self) -> int:
        """How many calls to the token have come back so far."""
        ...

    async def open(self) -> None:
        """Open it. If this raises or is cancelled, `close` must still be called."""
        ...

    def sign(self, chunk: Chunk, finished: Callable[[Result[Exception | None]], None]) -> None:
        """Begin to sign a chunk; see `TokenSession.sign_many` for what `finished` gets."""
        ...

    def check(self, checked: Callable[[Result[None]], None]) -> None:
        """Ask the token whether the session is alive; `checked` gets the error if it is not. May be busy since."""
        ...

    def close(self, closed: Callable[[], None]) -> None:
        """Close it after what it is doing now, however long that takes; never while a call is inside."""
        ...


class ThreadedSession:
    """A `PooledSession` on the token, with its thread and its place under the cap.

    Args:
        number: counts the sessions of a pool.
        token: where to open it.
        keys: the private keys it will sign with.
        slot: its place under the cap, released when the session has been closed.
    """

    def __init__(
        self, number: int, token: Token, keys: Sequence[KeyReference], slot: HeldSlot | None
    ) -> None:
        self.number = number
        self._token = token
        self._keys = keys
        self._slot = slot
        self._session: TokenSession | None = None
        self._thread = SessionThread(f"session {number} on {token.label}")

    @property
    def calls(self) -> int:
        """See `PooledSession`."""
        return self._session.calls if self._session else 0

    async def open(self) -> None:
        """See `PooledSession`. Raises what `TokenSession` raises."""
        await self._thread.run(self._open)

    def sign(self, chunk: Chunk, finished: Callable[[Result[Exception | None]], None]) -> None:
        """See `PooledSession`."""
        self._thread.submit(lambda: self._session.sign_many(chunk) if self._session else None, finished)

    def check(self, checked: Callable[[Result[None]], None]) -> None:
        """See `PooledSession`."""
        self._thread.submit(lambda: self._session.check() if self._session else None, checked)

    def close(self, closed: Callable[[], None]) -> None:
        """See `PooledSession`. Its place comes back only now, so a stuck session keeps it."""
        self._thread.submit(self._close, lambda _result: closed())
        self._thread.finish()

    def _open(self) -> None:
        self._session = TokenSession(self._token, self._keys)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        if self._slot is not None:
            self._slot.release()
