"""A pool's statistics as a JSON document, durations in milliseconds: for the control socket and what reads it."""

from __future__ import annotations

from typing import Any

from engine.pkcs11.arbiter import ArbiterStatistics
from engine.pkcs11.durations import DurationSummary
from engine.pkcs11.session_pool import SessionPool
from engine.pkcs11.statistics import LaneStatistics, SessionStatistics


def pool_document(pool: SessionPool) -> dict[str, Any]:
    """Return what a pool does, and has done since it was opened."""
    statistics = pool.statistics()
    return {
        "size": statistics.size,
        "wanted": statistics.wanted,
        "drained": statistics.drained,
        "sessions": [_session(session) for session in statistics.sessions],
        "lanes": {lane.label: _lane(numbers) for lane, numbers in statistics.lanes.items()},
        "sign": _durations(statistics.signing),
        "errors": dict(statistics.errors),
        "replacements": statistics.replacements,
        "stuck": statistics.stuck,
        "arbiter": _arbiter(statistics.arbiter),
    }


def _session(session: SessionStatistics) -> dict[str, Any]:
    return {
        "number": session.number,
        "state": session.state,
        "in_flight": None if session.in_flight is None else session.in_flight.label,
        "open_seconds": round(session.open_seconds, 3),
        "calls": session.signing.count,
        "errors": dict(session.errors),
        "sign": _durations(session.signing),
    }


def _lane(lane: LaneStatistics) -> dict[str, Any]:
    return {
        "waiting": lane.waiting,
        "waiting_peak": lane.waiting_peak,
        "in_flight": lane.in_flight,
        "done": lane.done,
        "refused": lane.refused,
        "wait": _durations(lane.waited),
        "sign": _durations(lane.signed),
        "recent": {
            "seconds": round(lane.recent.seconds, 3),
            "done_per_second": round(lane.recent.done_per_second, 3),
            "wait": _durations(lane.recent.waited),
            "sign": _durations(lane.recent.signed),
        },
    }


def _arbiter(arbiter: ArbiterStatistics) -> dict[str, Any]:
    return {
        "parallel": arbiter.parallel,
        "bulk_ceiling": arbiter.bulk_ceiling,
        "live_p99_ms": None if arbiter.live_p99 is None else round(1e3 * arbiter.live_p99, 3),
        "processes": arbiter.processes,
        "in_flight": arbiter.in_flight,
    }


def _durations(summary: DurationSummary) -> dict[str, float]:
    return {
        "count": summary.count,
        "p50_ms": _milliseconds(summary.median_ns),
        "p95_ms": _milliseconds(summary.percentile_95_ns),
        "p99_ms": _milliseconds(summary.percentile_99_ns),
    }


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
