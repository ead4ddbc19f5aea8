"""`sealmint feed serve`, which the command line finds through the entry-point group `sealmint.feed_commands`.

    feed-publisher   reads the record, signs        the token, the PIN        not on the network
    feed-front       faces public hosts, TLS        no PIN, not the record

They are kept by a supervisor; the listening socket is its own, so connections wait in it while a front is replaced.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import orjson
import trio
import typer

from engine.authority.role_certificates import load_authority
from engine.authority.signing import PIN_PROMPT, read_pin
from engine.config import Configuration, load_configuration
from engine.feed.admission import ADMITTED, SERVER_KEY, ensure_server_certificate
from engine.home import Home
from responders.listening_sockets import listen, parse_address, url_of
from responders.supervised_process import ProcessPlan, module_command
from responders.supervisor import Stages, Supervisor

HomeOption = Annotated[
    Path, typer.Option(envvar="SEALMINT_HOME", help="The home directory of the CA.", file_okay=False)
]
ListenOption = Annotated[
    str,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where public hosts ask for the feed. Port 0: any free one."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def serve(
    home: HomeOption = Path("sealmint-home"),
    address: ListenOption = "127.0.0.1:8443",
    as_json: JsonOption = False,
) -> None:
    """Serve the signed feed to the public hosts that were admitted, until stopped. SIGHUP replaces the front."""
    opened = Home(home)
    configuration = load_configuration(opened.path)
    load_authority(opened, configuration)  # a home that is not finished is told so here, not by every process
    where = parse_address(address)
    certificate = ensure_server_certificate(opened, configuration)
    with opened.lock("feed-serve", "serving the feed"):
        prompted = configuration.token.pin_file == PIN_PROMPT
        pin = read_pin(configuration).reveal() if prompted else b""

        async def run() -> None:
            await _serve(opened, configuration, certificate, where, pin, lambda url: _tell(url, as_json))

        trio.run(run)


async def _serve(
    home: Home,
    configuration: Configuration,
    certificate: Path,
    address: tuple[str, int],
    pin: bytes,
    on_ready: Callable[[str], None],
) -> None:
    with (
        ExitStack() as opened,
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
    ):
        sockets = listen(address, 1, opened)
        supervisor = Supervisor(_stages(home, configuration, certificate, sockets[0].fileno()), pin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            nursery.start_soon(supervisor.heed, signals, nursery)
            if await supervisor.wait_ready():
                on_ready(url_of(sockets).replace("http:", "https:").rstrip("/"))
                await supervisor.stopped.wait()
            nursery.cancel_scope.cancel()


def _stages(home: Home, configuration: Configuration, certificate: Path, descriptor: int) -> Stages:
    front = module_command(
        "responders.feed_front.process",
        *("--socket", descriptor),
        *("--publisher", configuration.feed.socket),
        *("--certificate", certificate),
        *("--key", home.path / "secrets" / SERVER_KEY),
        *("--admitted", Path(configuration.feed.directory) / ADMITTED),
        *("--control", configuration.control.directory),
    )
    publisher = module_command("responders.feed_publisher", "--home", home.path)
    return [
        [ProcessPlan("feed-publisher", publisher, wants_pin=True)],
        [ProcessPlan("feed-front", front, descriptors=(descriptor,), says_ready=True)],
    ]


def _tell(url: str, as_json: bool) -> None:
    """Say where the feed is, as soon as it can be asked for."""
    if as_json:
        document = {"feed": url, "pid": os.getpid()}
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    else:
        typer.echo(f"feed {url}")
