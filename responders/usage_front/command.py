"""`sealmint usage serve`, which the command line finds through the entry-point group `sealmint.usage_commands`.

The other way round than the feed: the public host listens, and lets in nobody but the CA host, whose certificate it has
from its admission. What the CA host gets are counts; nothing is written here.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import trio
import typer

from engine.config import PublicConfiguration, load_public_configuration
from engine.errors import HomeUnusable
from engine.feed.admission import SERVER_CERTIFICATE
from engine.feed.joining import OWN_CERTIFICATE, OWN_KEY
from engine.home import Home
from responders.feed_front.process import FeedSettings
from responders.listening_sockets import listen, parse_address, url_of
from responders.pinned_tls import PinningContext
from responders.usage_front.app import make_app
from responders.web_server import serve_web

HomeOption = Annotated[
    Path, typer.Option(envvar="SEALMINT_HOME", help="The home directory of the public host.", file_okay=False)
]
ListenOption = Annotated[
    str,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where the CA host asks for the counts. Port 0: any free one."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def serve(
    home: HomeOption = Path("sealmint-home"),
    address: ListenOption = "127.0.0.1:8444",
    as_json: JsonOption = False,
) -> None:
    """On a public host: let the CA host fetch what relying parties asked, until stopped."""
    opened = Home(home)
    configuration = load_public_configuration(opened.path)
    where, context = parse_address(address), _tls(opened, configuration)
    spool = Path(configuration.metering.spool)
    with opened.lock("usage-serve", "serving the counts"):
        trio.run(serve_spool, spool, where, context, partial(_tell, as_json))


async def serve_spool(
    spool: Path, address: tuple[str, int], context: ssl.SSLContext, on_ready: Callable[[str], None]
) -> None:
    """Serve a spool until SIGTERM or SIGINT.

    Args:
        spool: the directory.
        address: host and port; with port 0 any that is free.
        context: who may come in.
        on_ready: called with the URL when connections are accepted.

    Raises:
        InputRejected: nobody can listen at the address.
    """
    with ExitStack() as opened, trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        sockets = listen(address, 1, opened)
        settings = FeedSettings(context, os.dup(sockets[0].fileno()))  # hypercorn closes what it is given

        async def told_to_stop() -> None:
            await anext(signals)

        async with trio.open_nursery() as nursery:
            app = make_app(spool)
            await nursery.start(partial(serve_web, app, settings, told_to_stop))
            on_ready(url_of(sockets).replace("http:", "https:").rstrip("/"))


def _tls(home: Home, configuration: PublicConfiguration) -> PinningContext:
    directory = Path(configuration.feed.directory)
    server = directory / SERVER_CERTIFICATE
    try:
        pinned = {server: ssl.PEM_cert_to_DER_cert(server.read_text("ascii"))}
    except (OSError, ValueError) as error:
        raise HomeUnusable(
            "this host does not know the CA host's certificate; finish with: sealmint feed join",
            place=str(server),
            value=str(error),
        ) from error
    return PinningContext.made(directory / OWN_CERTIFICATE, home.path / "secrets" / OWN_KEY, pinned)


def _tell(as_json: bool, url: str) -> None:
    """Say where the counts are, as soon as they can be asked for."""
    if as_json:
        document = {"usage": url, "pid": os.getpid()}
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    else:
        typer.echo(f"usage {url}")
