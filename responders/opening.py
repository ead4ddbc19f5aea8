"""What both fronts open: the status store, and the one function that answers OCSP over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import trio

from engine.clock import Clock
from engine.config import HostConfiguration
from engine.errors import HomeUnusable, StoreError
from engine.metrics.catalogue import STATUS_STORE_AGE
from engine.metrics.registry import Gauge, Metrics
from engine.status.status_store import StatusReader
from engine.x509.profiles import ProfileSet
from responders.http_times import whole_seconds
from responders.live_signing.client import open_live_signer
from responders.ocsp_answer import OcspResponder
from responders.ocsp_http import OcspHttp

LOOK_AGAIN_SECONDS = 0.1
"""How soon a first status store is noticed. A guess."""


async def wait_for_status_store(configuration: HostConfiguration, stop: trio.Event) -> StatusReader:
    """Open this host's status store; wait for the follower to build it where there is none yet.

    Raises:
        HomeUnusable: there was none when the process was told to stop.
        StoreError: it is there, but cannot be read.
    """
    while True:
        try:
            return StatusReader(Path(configuration.ocsp.status_store))
        except HomeUnusable:
            if stop.is_set():
                raise
            with trio.move_on_after(LOOK_AGAIN_SECONDS):
                await stop.wait()


def path_of(url: str) -> str:
    """Return the path of a URL that certificates carry."""
    return urlsplit(url).path or "/"


@asynccontextmanager
async def open_ocsp(
    configuration: HostConfiguration, profiles: ProfileSet, clock: Clock, stop: trio.Event, metrics: Metrics
) -> AsyncIterator[tuple[OcspHttp, StatusReader]]:
    """Open all that answers OCSP requests, while the block runs.

    Args:
        configuration: the home's settings.
        profiles: whose OCSP URL the certificates carry.
        clock: tells the time.
        stop: set when the process is to stop.
        metrics: of the process.

    Raises:
        HomeUnusable: there was no status store until the process was told to stop.
        StoreError: the status store cannot be read.
        ConfigurationInvalid: the live signer's address is wrong (in a group).
    """
    (url,) = {profile.ocsp or "" for profile in profiles.certificates()}  # one for all: `[urls]`
    with await wait_for_status_store(configuration, stop) as reader:
        metrics.before_reading(_age_of(reader, clock, metrics.gauge(STATUS_STORE_AGE)))
        async with open_live_signer(configuration.ocsp, metrics) as live:
            responder = OcspResponder(reader, configuration, clock, live)
            max_age = configuration.responders.max_age
            yield (
                OcspHttp(responder, whole_seconds(clock), max_age=max_age, path=path_of(url).encode()),
                reader,
            )


def _age_of(reader: StatusReader, clock: Clock, gauge: Gauge) -> Callable[[], None]:
    """Return what sets how long ago the status store was last known to be current; one that is unreadable ages on."""
    known_at = 0

    def look() -> None:
        nonlocal known_at
        with suppress(StoreError, HomeUnusable):
            reader.reopen_if_replaced()
            known_at = reader.freshness().written_at
        gauge.set(clock.now().timestamp() - known_at)

    return look
