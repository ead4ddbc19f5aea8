"""The queue before the sessions: two lanes, each bounded in messages."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from engine.errors import Overloaded
from engine.pkcs11.lanes import Lane
from engine.pkcs11.statistics import Durations

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.pkcs11.chunk import Batch, Chunk


class ChunkQueue:
    """Chunks that wait, first come first served within a lane, the urgent lane before the bulk lane.

    Args:
        max_waiting: messages that may wait in each lane. Each lane has its own bound, so that a full bulk lane
            does not shut out urgent work.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._lanes: dict[Lane, deque[Chunk]] = {lane: deque() for lane in Lane}
        self.waiting = dict.fromkeys(Lane, 0)
        self.peak = dict.fromkeys(Lane, 0)
        self.waited = {lane: Durations() for lane in Lane}

    def admit(self, lane: Lane, messages: int) -> None:
        """Raise `Overloaded` unless so many more messages may wait in the lane."""
        if self.waiting[lane] + messages > self._max_waiting:
            rule = f"at most {self._max_waiting} messages wait in a lane"
            message = f"{self.waiting[lane]} messages wait in the {lane.name.lower()} lane, {messages} more do not fit"
            raise Overloaded(message, rule=rule)

    def append(self, chunk: Chunk) -> None:
        """Put a chunk at the end of its lane."""
        self._lanes[chunk.lane].append(chunk)
        self._count(chunk)

    def put_back(self, chunk: Chunk) -> None:
        """Put a chunk whose session failed at the head of its lane. It was admitted before: no bound."""
        self._lanes[chunk.lane].appendleft(chunk)
        self._count(chunk)

    def _count(self, chunk: Chunk) -> None:
        lane = chunk.lane
        self.waiting[lane] += len(chunk.messages)
        self.peak[lane] = max(self.peak[lane], self.waiting[lane])

    def next(self, may_begin: Callable[[Lane], bool], now: float) -> Chunk | None:
        """Take the next chunk whose lane may begin, or None.

        Args:
            may_begin: tells whether a chunk of a lane may begin now.
            now: trio's time in seconds, for the waiting time.
        """
        for lane, chunks in self._lanes.items():
            if chunks and may_begin(lane):
                chunk = chunks.popleft()
                self.waiting[lane] -= len(chunk.messages)
                self.waited[lane].add([round((now - chunk.queued_at) * 1e9)])
                return chunk
        return None

    def withdraw(self, batch: Batch) -> None:
        """Take out the chunks of a batch whose caller went away. Walks the lanes, but only on a cancellation."""
        for lane, chunks in self._lanes.items():
            self._lanes[lane] = deque(chunk for chunk in chunks if chunk.batch is not batch)
            self.waiting[lane] = sum(len(chunk.messages) for chunk in self._lanes[lane])

    def drain(self) -> list[Chunk]:
        """Take out every chunk that waits."""
        chunks = [chunk for lane in self._lanes.values() for chunk in lane]
        for lane in Lane:
            self._lanes[lane].clear()
            self.waiting[lane] = 0
        return chunks
