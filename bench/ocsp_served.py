"""The part of `bench.ocsp` that needs the whole product at work: live answers, and changes of status under load.

A home with synthetic certificates is served by `sealmint serve`: follower, two pre-signers, live signer, CRL publisher,
two listeners. wrk asks for random certificates as fast as it gets answers while certificates are revoked; before and
after, the same load goes to the bare server, whose p99 is the measure.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import trio

from bench import ocsp_changes, ocsp_live
from bench.ocsp_client import request_for
from bench.ocsp_home import ServedHome, served_home
from bench.ocsp_servers import Servers, bare
from bench.wrk_load import LoadResult, replay

CONNECTIONS = 64
ANSWER_OCTETS = 2_235
"""Of the bare server's answer: what the listener sends for a card of two certificates, header fields included."""

SETTINGS = ocsp_live.SETTINGS
LOAD_MARGIN = 2.0
"""Seconds that the load goes on after the last change, so that the last changes arrive under load as well."""


def measure(certificates: int, seconds: float, changes_per_second: int) -> dict[str, Any]:
    """Serve a home and measure; return the figures.

    Args:
        certificates: how many the home has.
        seconds: how long certificates are revoked under load.
        changes_per_second: how many.
    """
    directory = Path(tempfile.mkdtemp(prefix="bench-ocsp-"))
    try:
        with served_home(directory, certificates, settings=SETTINGS) as home, bare(ANSWER_OCTETS, 2) as least:
            result = ocsp_live.measure(home, min(seconds, 5.0))
            result |= _changes_under_load(home, least, directory, seconds, changes_per_second)
            result |= ocsp_changes.measure_without_token(home, seconds, changes_per_second)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return result


def _changes_under_load(
    home: ServedHome, least: Servers, directory: Path, seconds: float, rate: int
) -> dict[str, Any]:
    requests = directory / "requests.txt"
    shuffled = home.serials[:]
    random.Random(2).shuffle(shuffled)
    requests.write_text("".join(request_for(home.issuer, serial).hex() + "\n" for serial in shuffled))
    url = f"http://{home.address[0]}:{home.address[1]}/"
    loaded: list[LoadResult] = []

    def load() -> None:
        loaded.append(replay(url, "POST", requests, seconds=seconds + LOAD_MARGIN, connections=CONNECTIONS))

    before = replay(least.url, "POST", requests, seconds=seconds / 2, connections=CONNECTIONS)

    async def both() -> dict[str, Any]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, load)
            return await ocsp_changes.measure(home, seconds, rate)

    result = trio.run(both)
    after = replay(least.url, "POST", requests, seconds=seconds / 2, connections=CONNECTIONS)
    bare_p99 = statistics.fmean((before.p99_ms, after.p99_ms))
    return {
        **result,
        "changing_per_second": round(loaded[0].per_second, 1),
        "changing_p99_ms": round(loaded[0].p99_ms, 3),
        "changing_bare_p99_ms": round(bare_p99, 3),
        "changing_bare_per_second": round(statistics.fmean((before.per_second, after.per_second)), 1),
    }
