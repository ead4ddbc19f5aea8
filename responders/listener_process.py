"""A process of the fast OCSP listener: `python -m responders.listener_process --home H --socket FD`.

The supervisor made the listening socket and keeps it open, so connections that wait to be accepted outlive this
process. It says `ready` on standard output when it accepts them.
"""

from __future__ import annotations

import argparse
import gc
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from engine.authority.configured_profiles import configured_profiles
from engine.authority.observed import observed
from engine.clock import Clock, SystemClock
from engine.config import HostConfiguration, load_host_configuration
from engine.errors import ConfigurationInvalid
from engine.json_log import json_log
from engine.metrics.process import count_log_lines
from engine.metrics.registry import Metrics
from engine.process_hardening import forbid_cores
from engine.status.service import stopped_from_outside
from responders.front_process import run_front
from responders.metering.meter import open_meter
from responders.metering.metered_client import MeteredHttp
from responders.ocsp_http import OcspHttp
from responders.ocsp_listener import Limits, OcspListener
from responders.opening import open_ocsp
from responders.proxied_connection import Arrivals, proxies_in

OTHER_DESCRIPTORS = 64
"""File descriptors besides those of connections. A guess."""


async def serve(home: Path, name: str, listening: socket.socket) -> None:
    """Serve OCSP on a listening socket until told to stop.

    Args:
        home: the home.
        name: of this process, such as `listener-1`.
        listening: the socket.

    Raises:
        SealmintError: the configuration is wrong, or the status store cannot be read.
    """
    configuration = load_host_configuration(home)
    settings = configuration.responders
    allow_descriptors(settings.connections)
    limits = Limits(settings.connections, settings.idle_seconds, settings.request_seconds)
    profiles = configured_profiles(configuration)
    clock = SystemClock()
    metrics = Metrics()
    log = json_log(name, counted=count_log_lines(metrics))
    async with (
        stopped_from_outside() as stop,
        observed(configuration, name, metrics, log),
        open_ocsp(configuration, profiles, clock, stop, metrics) as (http, _),
        open_arrivals(configuration, http, clock) as arrivals,
    ):
        gc.freeze()  # what is loaded by now stays: the collector need not walk it again and again
        async with trio.open_nursery() as nursery:
            await nursery.start(OcspListener(http, limits, arrivals, metrics).serve, [listening], stop)
            print("ready", flush=True)  # noqa: T201 - the supervisor waits for it


@asynccontextmanager
async def open_arrivals(
    configuration: HostConfiguration, http: OcspHttp, clock: Clock
) -> AsyncIterator[Arrivals | None]:
    """Open what takes connections in where it matters whose they are; None where it does not, and costs nothing.

    Args:
        configuration: the home's settings.
        http: answers requests.
        clock: tells the meter days and months.

    Raises:
        ConfigurationInvalid: a listed proxy is no network.
    """
    proxies = proxies_in(configuration.responders)
    if configuration.metering.enabled:
        async with open_meter(configuration.metering, clock) as meter:
            yield Arrivals(MeteredHttp(http, meter).for_client, proxies)
    elif proxies:
        yield Arrivals(lambda _: http, proxies)
    else:
        yield None


def allow_descriptors(connections: int) -> None:
    """Raise the process's limit of open files to what its connections need.

    Raises:
        ConfigurationInvalid: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ConfigurationInvalid(
            "more connections are allowed than files can be open",
            place="[responders].connections",
            value=connections,
            rule=f"the hard limit of open files is {hard} (setrlimit(2)), and {OTHER_DESCRIPTORS} are needed else",
        )
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main() -> None:
    """The entry of a listener process, started by the supervisor only."""
    forbid_cores()
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", default="listener")
    parser.add_argument("--socket", type=int, required=True)
    options = parser.parse_args()
    listening = socket.socket(fileno=options.socket)
    listening.setblocking(False)
    run_front(serve, options.home, options.name, listening)


if __name__ == "__main__":
    main()
