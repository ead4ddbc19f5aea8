"""The part of `bench.edge` that needs the whole product at work: until when an edge says "good" after a revocation."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from bench.edge_server import edge_server
from bench.ocsp_changes import Times, change_and_probe
from bench.ocsp_client import OcspClient, request_for
from bench.ocsp_home import ServedHome, percentile, served_home
from engine.cli.opening import open_context
from engine.status.acts import StatusActs

CERTIFICATES = 200
MAX_AGE = 5
"""Seconds. Less than the default, or a run would take its quarter of an hour; the bound is made of it alike."""

NGINX_SECONDS = 1.0
"""nginx keeps a copy up to the end of the second in which its time is up."""

WITHDRAWAL_SECONDS = 2.0
"""What the host behind is allowed (bench.ocsp)."""

BOUND = MAX_AGE + NGINX_SECONDS + WITHDRAWAL_SECONDS

PAUSE = 0.01
"""Seconds between two questions that keep the copies coming: of each certificate one in two seconds."""


def measure(seconds: float, changes_per_second: int) -> dict[str, Any]:
    """Serve a home behind an edge, revoke, and return the figures.

    Args:
        seconds: how long certificates are revoked.
        changes_per_second: how many.
    """
    settings = f"[responders]\nmax_age = {MAX_AGE}\n"
    with tempfile.TemporaryDirectory(prefix="bench-edge-") as name:
        directory = Path(name)
        with served_home(directory, CERTIFICATES, settings=settings) as home:
            host, port = home.address
            with edge_server(directory / "edge", f"http://{host}:{port}/") as edge:
                address = urlsplit(edge.url)
                assert address.hostname and address.port
                behind = dataclasses.replace(home, address=(address.hostname, address.port))
                times = trio.run(_change_under_questions, behind, seconds, changes_per_second)
    return {
        "max_age_s": MAX_AGE,
        "changes_followed": len(times.withdrawal),
        "change_p50_s": round(percentile(times.withdrawal, 0.50), 3),
        "change_max_s": round(max(times.withdrawal), 3),
        "change_bound_s": BOUND,
        "good_after_change": times.wrong,
    }


async def _change_under_questions(home: ServedHome, seconds: float, rate: int) -> Times:
    """Revoke while others ask for all certificates over and over, so that there are copies of every age."""
    shuffled = home.serials[:]
    random.Random(7).shuffle(shuffled)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_asking, home)
        await trio.sleep(MAX_AGE)  # until the copies are of every age
        with open_context(home.path) as context:
            acts = StatusActs(context.store, context.clock, "bench")
            times = await change_and_probe(home, acts, shuffled, seconds, rate, signed=False)
        nursery.cancel_scope.cancel()
    return times


async def _keep_asking(home: ServedHome) -> None:
    client = OcspClient(home.address)
    while True:
        for serial in home.serials:
            await client.ask(request_for(home.issuer, serial))
            await trio.sleep(PAUSE)
