"""Processes of a busy CA host that are not there: control sockets whose answers are made up, in one process.

`python -m tests.operator.stand_ins DIRECTORY` makes the sockets in a directory; it says `ready`, and ends with its
standard input.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import trio

from engine.control.messages import Document
from engine.control.server import ControlServer
from engine.metrics.catalogue import DURATIONS, OCSP_REQUEST_DURATION
from engine.metrics.registry import Metrics

SIGNERS = ("live-signer", "pre-signer-1", "crl-publisher", "worker-1", "worker-2")
LISTENERS = ("listener-1", "listener-2")
SESSIONS = 8


class Signer:
    """A process with a pool.

    Args:
        number: makes its numbers differ from others'.
        lane: what it works on.
        sick: whether a session of it is quarantined and one stuck.
    """

    def __init__(self, number: int, lane: str, sick: bool = False) -> None:
        self._random = random.Random(number)
        self._lane, self._sick, self._done = lane, sick, 0

    async def pool(self, _: Document) -> Document:
        self._done += 400
        states = ["busy"] * (SESSIONS - 3) + ["idle"] * 3
        if self._sick:
            states[1:3] = ["quarantined", "stuck"]
        wait = {"urgent": 2, "live": 6, "crl": 20, "pre-signing": 60, "issuance": 2_400}[self._lane]
        recent = self._durations(wait * self._random.uniform(0.7, 1.4))
        lane = {
            "waiting": self._random.randrange(40),
            "in_flight": states.count("busy"),
            "done": self._done,
            "refused": 3 if self._sick else 0,
            "wait": recent,
            "sign": self._durations(11.0),
            "recent": {"seconds": 10.0, "done_per_second": 200.5, "wait": recent, "sign": recent},
        }
        return {
            "size": SESSIONS,
            "wanted": SESSIONS,
            "drained": False,
            "sessions": [_session(place, state) for place, state in enumerate(states, 1)],
            "lanes": {self._lane: lane},
            "sign": self._durations(11.0),
            "errors": {"CKR_DEVICE_ERROR": 2, "CKR_SESSION_HANDLE_INVALID": 1} if self._sick else {},
            "replacements": 2 if self._sick else 0,
            "stuck": 0,
        }

    def _durations(self, middle: float) -> dict[str, float]:
        return {"count": 500, "p50_ms": middle, "p95_ms": middle * 1.6, "p99_ms": middle * 2.2}


def _session(number: int, state: str) -> dict[str, Any]:
    return {
        "number": number,
        "state": state,
        "in_flight": None,
        "calls": 1000 + number,
        "errors": {},
        "sign": {},
    }


class Listener(Metrics):
    """Counts answers that nobody asked for: more of them with every look."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number, self._looks = number, 0
        self.before_reading(self._answer)

    def _answer(self) -> None:
        self._looks += 1
        rate = 900 + int(300 * math.sin(self._looks / 9 + self._number))
        histogram = self.histogram(OCSP_REQUEST_DURATION, method="POST", outcome="successful")
        for place, share in ((1, 0.5), (2, 0.4), (3, 0.08), (5, 0.02)):
            for _ in range(int(rate * share)):
                histogram.observe(DURATIONS[place])


async def token_health(_: Document) -> Document:
    def found(key: str, latency: float | None, error: str | None = None) -> dict[str, Any]:
        last = "2026-11-18T11:06:40+00:00"
        return {
            "key": key,
            "healthy": error is None,
            "last_ok_at": last,
            "latency_ms": latency,
            "error": error,
        }

    sick = "token sealmint: the token refused (found 'CKR_DEVICE_ERROR')"
    return {
        "keys": [found("ca", 0.4), found("ocsp", 11.2), found("audit", None, sick), found("operations", 9.0)]
    }


async def serve(directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        for number, name in enumerate(LISTENERS):
            await nursery.start(ControlServer(directory, name, Listener(number)).serve)
        lanes = ("live", "pre-signing", "crl", "issuance", "issuance")
        for number, (name, lane) in enumerate(zip(SIGNERS, lanes, strict=True)):
            server = ControlServer(directory, name, Metrics())
            server.handle("pool", Signer(number, lane, sick=name == "worker-2").pool)
            await nursery.start(server.serve)
        watch = ControlServer(directory, "token-watch", Metrics())
        watch.handle("token-health", token_health)
        await nursery.start(watch.serve)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]))
