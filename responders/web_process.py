"""The process of the web application: `python -m responders.web_process --home H --socket FD`.

On a public host the repository site is part of it.

Hypercorn serves it on a listening socket of the supervisor's. It says `ready` on standard output when it accepts
connections.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config

from engine.authority.configured_profiles import configured_profiles
from engine.authority.observed import observed
from engine.authority.role_certificates import certificate_of
from engine.clock import SystemClock
from engine.config import PublicConfiguration, load_host_configuration
from engine.home import Home
from engine.json_log import json_log
from engine.metrics.process import count_log_lines
from engine.metrics.registry import Metrics
from engine.process_hardening import forbid_cores
from engine.status.service import stopped_from_outside
from responders.app import Pages, crl_paths, make_app
from responders.authority_documents import authority_documents
from responders.front_process import run_front
from responders.metering.web_front import web_ocsp
from responders.opening import open_ocsp, path_of
from responders.readiness import Readiness
from responders.repository_site.registration import add_repository_site
from responders.repository_site.site import repository_site
from responders.request_reader import HEADER_OCTETS
from responders.web_server import serve_web

GRACE_SECONDS = 10.0
"""How long responses in hand may take when the process stops. A guess: a CRL of some MB over a slow line is cut off."""


async def serve(path: Path, name: str, socket: int) -> None:
    """Serve the application until told to stop.

    Args:
        path: the home.
        name: of this process.
        socket: the descriptor of the listening socket.

    Raises:
        SealmintError: the home is not complete, or its status store cannot be read.
    """
    home = Home(path)
    configuration = load_host_configuration(home.path)
    profiles = configured_profiles(configuration)
    ca, root = (certificate_of(home, role) for role in ("ca", "root"))
    clock = SystemClock()
    metrics = Metrics()
    log = json_log(name, counted=count_log_lines(metrics))
    (ca_issuers,) = {profile.ca_issuers or "" for profile in profiles.certificates()}  # one for all: `[urls]`
    async with (
        stopped_from_outside() as stop,
        observed(configuration, name, metrics, log),
        open_ocsp(configuration, profiles, clock, stop, metrics) as (ocsp, reader),
    ):
        app = make_app(
            Pages(
                ocsp=web_ocsp(ocsp, configuration.metering),
                documents=authority_documents(path_of(ca_issuers), ca, root),
                crls=Path(configuration.crl.directory),
                crl_paths=crl_paths(profiles),
                readiness=Readiness(configuration, reader, clock),
                max_age=configuration.responders.max_age,
                clock=clock,
                metrics=metrics,
            )
        )
        if isinstance(configuration, PublicConfiguration):
            add_repository_site(
                app, repository_site(configuration, profiles, reader, clock, ca=ca, root=root)
            )
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_web, app, hypercorn_settings(socket), stop.wait))
            print("ready", flush=True)  # noqa: T201 - the supervisor waits for it


def hypercorn_settings(socket: int) -> Config:
    """Return hypercorn's settings for an inherited listening socket."""
    settings = Config()
    settings.bind = [f"fd://{socket}"]
    settings.graceful_timeout = GRACE_SECONDS
    settings.include_server_header = False
    settings.include_date_header = False  # the application says it, by its own clock
    settings.h11_max_incomplete_size = HEADER_OCTETS
    settings.loglevel = "WARNING"
    return settings


def main() -> None:
    """The entry of the web process, started by the supervisor only."""
    forbid_cores()
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", default="web")
    parser.add_argument("--socket", type=int, required=True)
    options = parser.parse_args()
    run_front(serve, options.home, options.name, options.socket)


if __name__ == "__main__":
    main()
