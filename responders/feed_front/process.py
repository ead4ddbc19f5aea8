"""The process of the feed's front, started by `sealmint feed serve`.

    python -P -m responders.feed_front.process --socket FD --publisher PATH --certificate FILE --key FILE --admitted DIR
                                               --control DIR

It gets what it needs and nothing else: no home, no configuration. It says `ready` on standard output when it accepts
connections. When another reader is admitted, or one dismissed, it ends, and its successor knows; so an open connection
of a dismissed reader ends too.
"""

from __future__ import annotations

import argparse
import resource
import ssl
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config

from engine.control.server import ControlServer, controlled
from engine.feed.question import MOST_WAIT_SECONDS
from engine.json_log import json_log
from engine.metrics.process import count_log_lines
from engine.metrics.registry import Metrics
from engine.process_hardening import forbid_cores
from engine.status.service import stopped_from_outside
from engine.unix_sockets import connect_unix
from responders.feed_exchange import ask
from responders.feed_front.app import ANSWER_SECONDS, make_app
from responders.front_process import run_front
from responders.pinned_tls import PinningContext, admitted_certificates
from responders.web_durations import count_requests
from responders.web_server import serve_web

NAME = "feed-front"

LOOK_SECONDS = 0.5
"""Between two looks at who is admitted: so long a dismissed reader may go on. A guess."""

PUBLISHER_SECONDS = 10.0
"""How long the first readers wait for the process that signs, instead of being told that it is away. A guess: a token
opens in a second or two."""

GRACE_SECONDS = 10.0
"""How long pieces in hand may take when the process stops. A guess."""

HANDSHAKE_SECONDS = 10.0
"""A guess: who has not shaken hands by then keeps others out."""

IDLE_SECONDS = 30.0
"""How long a connection may stay without a request. A guess."""

MOST_DESCRIPTORS = 256
"""The kernel's bound on connections, from readers and to the publisher together: those beyond wait to be accepted.
A guess: some dozens of public hosts."""

HEADER_OCTETS = 4_096
"""Of a request. A guess: a question has a few hundred."""


class FeedSettings(Config):
    """Hypercorn's settings, with a TLS context of ours."""

    def __init__(self, context: ssl.SSLContext, socket: int) -> None:
        self._context = context
        self.bind = [f"fd://{socket}"]
        self.graceful_timeout = GRACE_SECONDS
        self.ssl_handshake_timeout = HANDSHAKE_SECONDS
        self.keep_alive_timeout = IDLE_SECONDS
        self.read_timeout = int(MOST_WAIT_SECONDS + ANSWER_SECONDS)
        self.h11_max_incomplete_size = HEADER_OCTETS
        self.include_server_header = False
        self.loglevel = "WARNING"

    @property
    def ssl_enabled(self) -> bool:
        """Always."""
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        """Return our context."""
        return self._context


async def serve(options: argparse.Namespace) -> None:
    """Have a control socket, and serve until told to stop or until other readers are admitted.

    Raises:
        ConfigurationInvalid: the server's certificate or key cannot be used.
    """
    metrics = Metrics()
    log = json_log(NAME, counted=count_log_lines(metrics))
    async with controlled(ControlServer(options.control, NAME, metrics, log)):
        await _serve(options, metrics)


async def _serve(options: argparse.Namespace, metrics: Metrics) -> None:
    admitted = admitted_certificates(options.admitted)
    context = PinningContext.made(options.certificate, options.key, admitted)
    async with stopped_from_outside() as stop, trio.open_nursery() as nursery:
        app = make_app(partial(ask, options.publisher), stop)
        count_requests(app, metrics)
        settings = FeedSettings(context, options.socket)
        watching = await nursery.start(_watch, options.admitted, admitted, stop)
        await _wait_for_publisher(options.publisher, stop)
        async with trio.open_nursery() as serving:
            await serving.start(partial(serve_web, app, settings, stop.wait))
            print("ready", flush=True)  # noqa: T201 - the supervisor waits for it
        watching.cancel()


async def _watch(
    directory: Path,
    admitted: dict[Path, bytes],
    stop: trio.Event,
    task_status: trio.TaskStatus[trio.CancelScope],
) -> None:
    """Stop the process when other readers are admitted than those it began with."""
    with trio.CancelScope() as scope:
        task_status.started(scope)
        while True:
            await trio.sleep(LOOK_SECONDS)
            if admitted_certificates(directory) != admitted:
                stop.set()
                return


async def _wait_for_publisher(path: Path, stop: trio.Event) -> None:
    with trio.move_on_after(PUBLISHER_SECONDS):
        while not stop.is_set():
            try:
                stream = await connect_unix(path)
            except OSError:
                await trio.sleep(LOOK_SECONDS / 10)
            else:
                await stream.aclose()
                return


def main() -> None:
    """The entry of the front, started by the supervisor only."""
    forbid_cores()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MOST_DESCRIPTORS, hard), hard))
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    for name in ("publisher", "certificate", "key", "admitted", "control"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_front(serve, parser.parse_args())


if __name__ == "__main__":
    main()
