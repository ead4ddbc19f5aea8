"""What the processes of the home say of themselves while the load runs: lanes, sessions, CPU, memory; each second."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import trio

from engine.control.client import RunningProcess, ask_all
from engine.errors import SealmintError

SAMPLE_SECONDS = 1.0


class ServerSamples:
    """Samples of a home.

    Args:
        directory: of the control sockets.

    Attributes:
        samples: in the order of time; see `sample_of`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.samples: list[dict[str, Any]] = []

    async def take(self, began: float) -> None:
        """Take a sample each second until cancelled.

        Args:
            began: the load's beginning on the monotonic clock.
        """
        while True:
            try:
                pools = await ask_all(self._directory, "pool")
                described = await ask_all(self._directory, "describe")
            except SealmintError:  # a process that ends in between; the next second there is another
                pools, described = [], []
            self.samples.append(sample_of(time.monotonic() - began, pools, described))
            await trio.sleep(SAMPLE_SECONDS)


Answers = Iterable[tuple[RunningProcess, Mapping[str, Any]]]


def sample_of(moment: float, pools: Answers, described: Answers) -> dict[str, Any]:
    """Put together what all processes said at a moment.

    Returns:
        second; lanes: by label, waiting, in_flight, done and refused of all processes and the longest p99 of waiting
        and signing; sessions: by state; processes: by name, cpu_seconds and memory_bytes.
    """
    lanes: dict[str, dict[str, float]] = {}
    sessions: dict[str, int] = {}
    for _, pool in pools:
        for label, lane in pool.get("lanes", {}).items():
            _add_lane(lanes.setdefault(label, dict.fromkeys((*_ADDED, *_LONGEST), 0.0)), lane)
        for session in pool.get("sessions", ()):
            sessions[session["state"]] = sessions.get(session["state"], 0) + 1
    processes = {
        process.name: {name: one.get(name) for name in ("cpu_seconds", "memory_bytes")}
        for process, one in described
    }
    return {"second": round(moment, 2), "lanes": lanes, "sessions": sessions, "processes": processes}


_ADDED = ("waiting", "in_flight", "done", "refused")
_LONGEST = ("wait_p99_ms", "sign_p99_ms")


def _add_lane(total: dict[str, float], lane: Mapping[str, Any]) -> None:
    for name in _ADDED:
        total[name] += lane.get(name) or 0
    recent = lane.get("recent", {})
    for name in _LONGEST:
        figure = recent.get(name.partition("_")[0], {}).get("p99_ms")
        total[name] = max(total[name], figure or 0.0)
