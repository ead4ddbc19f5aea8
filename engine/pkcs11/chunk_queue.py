"""The queue before the sessions: a lane for each kind of work, each bounded in messages."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from engine.errors import Overloaded
from engine.pkcs11.arbiter import Want
from engine.pkcs11.lanes import Lane
from engine.pkcs11.statistics import LaneCounts, LaneStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.pkcs11.chunk import Batch, Chunk


class ChunkQueue:
    """Chunks that wait, first come first served within a lane, one lane after the other.

    Args:
        max_waiting: messages that may wait in each lane. Each lane has its own bound, so that a full bulk lane
            does not shut out urgent work.
        timeouts: seconds after which those who wait in a lane give up, where they do.
        now: trio's time in seconds.
    """

    def __init__(self, max_waiting: int, timeouts: Mapping[Lane, float], now: float) -> None:
        self._max_waiting = max_waiting
        self._timeouts = timeouts
        self._lanes: dict[Lane, deque[Chunk]] = {lane: deque() for lane in Lane}
        self.waiting = dict.fromkeys(Lane, 0)
        self.counts = {lane: LaneCounts(now) for lane in Lane}

    def most_waiting(self, lane: Lane, sessions: int) -> int:
        """Return how many messages may wait in the lane.

        Where those who wait give up after a time, no more than so many sessions sign within it, as fast as they did of
        late; to take in more would be work for nobody.
        """
        timeout, call_seconds = self._timeouts.get(lane), self.counts[lane].call_seconds
        if timeout is None or not call_seconds:
            return self._max_waiting
        return min(self._max_waiting, max(1, int(sessions * timeout / call_seconds)))

    def admit(self, lane: Lane, messages: int, sessions: int) -> None:
        """Raise `Overloaded` unless so many more messages may wait in the lane.

        Where nothing waits a call may be longer than would be signed in time: it could never be made otherwise.
        """
        most = self.most_waiting(lane, sessions) if self.waiting[lane] else self._max_waiting
        if self.waiting[lane] + messages > most:
            rule = f"at most {most} messages wait in the lane"
            message = (
                f"{self.waiting[lane]} messages wait in the {lane.label} lane, {messages} more do not fit"
            )
            self.counts[lane].refused += messages
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
        counts = self.counts[lane]
        counts.peak = max(counts.peak, self.waiting[lane])

    def wants(self, idle: int, now: float) -> dict[Lane, Want]:
        """Return which lanes could begin a chunk now.

        Args:
            idle: how many sessions are idle.
            now: trio's time in seconds.
        """
        if not idle:
            return {}
        return {
            lane: Want(min(idle, self.waiting[lane]), now - chunks[0].queued_at)
            for lane, chunks in self._lanes.items()
            if chunks
        }

    def take(self, lane: Lane, most: int, now: float) -> Chunk:
        """Take so many messages at most from the head of a lane that has some.

        Args:
            lane: the lane.
            most: messages, at least one.
            now: trio's time in seconds, for the waiting time.
        """
        chunks = self._lanes[lane]
        chunk = chunks.popleft()
        if len(chunk.messages) > most:
            chunks.appendleft(chunk.rest(most, chunk.queued_at, 0))
            chunk = chunk.first(most)
        self.waiting[lane] -= len(chunk.messages)
        counts = self.counts[lane]
        counts.in_flight += 1
        counts.waited.add([round((now - chunk.queued_at) * 1e9)], now)
        return chunk

    def came_back(self, chunk: Chunk, durations_ns: Sequence[int], now: float) -> None:
        """Count what a session did of a chunk."""
        counts = self.counts[chunk.lane]
        counts.in_flight -= 1
        counts.done += len(durations_ns)
        counts.signed.add(durations_ns, now)
        counts.observe(durations_ns)

    def statistics(self, now: float) -> Mapping[Lane, LaneStatistics]:
        """Return each lane's numbers as they stand."""
        return {lane: counts.statistics(self.waiting[lane], now) for lane, counts in self.counts.items()}

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
