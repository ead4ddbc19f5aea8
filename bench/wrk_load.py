"""Load by wrk, which replays requests from a file."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).parent / "replay.lua"
GRACE_SECONDS = 30.0
"""When a wrk that does not end is given up. Decides nothing but that."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one run of wrk saw.

    Attributes:
        requests: answered.
        per_second: answered a second.
        p50_ms: median latency.
        p99_ms: 99th percentile of the latency.
    """

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def replay(
    url: str, method: str, requests: Path, *, seconds: float, connections: int, path: str = "/"
) -> LoadResult:
    """Replay requests for some seconds, and check that every one was answered with 2xx.

    Args:
        url: of the server.
        method: GET or POST.
        requests: the file for `replay.lua`.
        seconds: how long.
        connections: kept open; each has one request on its way.
        path: where requests are sent by POST.
    """
    load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(SCRIPT), url]
    command = [*load, "--", method, str(requests), path]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["bad"] == said["broken"] == 0, done.stdout
    return LoadResult(
        requests=said["requests"],
        per_second=said["requests"] / said["microseconds"] * 1e6,
        p50_ms=said["p50_us"] / 1e3,
        p99_ms=said["p99_us"] / 1e3,
    )
