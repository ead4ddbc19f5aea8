"""A pool of sessions among the metrics of its process.

The pool counts by itself, whoever looks: before each reading what came to its numbers since the last is added, so that
the totals of a process go on when it closes one pool and opens another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from engine.metrics.catalogue import (
    LANES_BULK_CEILING,
    LANES_LIVE_P99,
    LANES_PARALLEL,
    POOL_ERRORS,
    POOL_LANE_DONE,
    POOL_LANE_IN_FLIGHT,
    POOL_LANE_REFUSED,
    POOL_LANE_WAITING,
    POOL_REPLACEMENTS,
    POOL_SESSIONS,
    POOL_SESSIONS_WANTED,
    POOL_SIGN_DURATION,
    POOL_STUCK,
    POOL_WAIT_DURATION,
)
from engine.metrics.families import Family
from engine.metrics.registry import Metrics
from engine.pkcs11.durations import DurationSummary
from engine.pkcs11.session_pool import SessionPool
from engine.pkcs11.statistics import LaneStatistics

SESSION_STATES = ("idle", "busy", "quarantined", "stuck", "closing")


@contextmanager
def pool_counted(pool: SessionPool, metrics: Metrics) -> Iterator[None]:
    """Count a pool while the block runs; afterwards its totals stay, and it has no sessions.

    Args:
        pool: the open pool.
        metrics: of the process.
    """
    metrics.declare(POOL_ERRORS)
    counts = _PoolCounts(pool, metrics)
    metrics.before_reading(counts.look)
    try:
        yield
    finally:
        metrics.forget(counts.look)
        counts.look()
        counts.closed()


class _PoolCounts:
    def __init__(self, pool: SessionPool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._totals: Counter[tuple[str, str]] = Counter()
        self._durations: dict[tuple[str, str], DurationSummary] = {}

    def look(self) -> None:
        """Take over the pool's numbers."""
        now = self._pool.statistics()
        states = Counter(session.state for session in now.sessions)
        for state in SESSION_STATES:
            self._metrics.gauge(POOL_SESSIONS, state=state).set(states[state])
        self._metrics.gauge(POOL_SESSIONS_WANTED).set(now.wanted)
        for lane, numbers in now.lanes.items():
            self._look_at_lane(lane.label, numbers)
        for ckr, count in now.errors.items():
            self._count(POOL_ERRORS, count, ckr=ckr)
        self._metrics.gauge(LANES_PARALLEL).set(now.arbiter.parallel)
        self._metrics.gauge(LANES_BULK_CEILING).set(now.arbiter.bulk_ceiling)
        self._metrics.gauge(LANES_LIVE_P99).set(now.arbiter.live_p99)
        self._count(POOL_REPLACEMENTS, now.replacements)
        self._count(POOL_STUCK, now.stuck_ever)

    def _look_at_lane(self, lane: str, numbers: LaneStatistics) -> None:
        self._metrics.gauge(POOL_LANE_WAITING, lane=lane).set(numbers.waiting)
        self._metrics.gauge(POOL_LANE_IN_FLIGHT, lane=lane).set(numbers.in_flight)
        self._count(POOL_LANE_DONE, numbers.done, lane=lane)
        self._count(POOL_LANE_REFUSED, numbers.refused, lane=lane)
        self._observe(POOL_WAIT_DURATION, numbers.waited, lane)
        self._observe(POOL_SIGN_DURATION, numbers.signed, lane)

    def _count(self, family: Family, total: int, **labels: str) -> None:
        key = family.name, "".join(labels.values())
        self._metrics.counter(family, **labels).add(total - self._totals[key])
        self._totals[key] = total

    def _observe(self, family: Family, summary: DurationSummary, lane: str) -> None:
        before = self._durations.get((family.name, lane), DurationSummary(0, 0, 0, 0, 0, 0))
        self._durations[family.name, lane] = summary
        self._metrics.histogram(family, lane=lane).add(
            {end / 1e9: count - before.buckets.get(end, 0) for end, count in summary.buckets.items()},
            (summary.total_ns - before.total_ns) / 1e9,
        )

    def closed(self) -> None:
        """Say that there is no pool."""
        for state in SESSION_STATES:
            self._metrics.gauge(POOL_SESSIONS, state=state).set(0)
        for lane in self._pool.statistics().lanes:
            self._metrics.gauge(POOL_LANE_WAITING, lane=lane.label).set(0)
            self._metrics.gauge(POOL_LANE_IN_FLIGHT, lane=lane.label).set(0)
