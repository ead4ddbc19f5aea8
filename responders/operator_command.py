"""`sealmint operator serve`, which the command line finds through its group of entry points."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import trio
import typer

from engine.config import load_host_configuration
from engine.home import Home
from responders.listening_sockets import parse_address
from responders.operator.serve import serve_operator

HomeOption = Annotated[
    Path, typer.Option(envvar="SEALMINT_HOME", help="The home directory.", file_okay=False)
]
ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where the page is; [operator].listen without it. Port 0: any free one.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def serve(
    home: HomeOption = Path("sealmint-home"), address: ListenOption = None, as_json: JsonOption = False
) -> None:
    """Serve the operator's page and the metrics for monitoring until stopped.

    Needs no token and no PIN, and nothing else to be running.
    """
    opened = Home(home)
    configuration = load_host_configuration(opened.path)
    where = parse_address(address or configuration.operator.listen)
    with opened.lock("operator", "serving the operator's page"):
        token_file = configuration.operator.token_file
        trio.run(serve_operator, opened, configuration, where, partial(_tell, as_json, token_file))


def _tell(as_json: bool, token_file: str, url: str) -> None:
    """Say where the page is, as soon as it is there, and where its token; never the token."""
    if as_json:
        document = {"operator": url, "token_file": token_file, "pid": os.getpid()}
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    else:
        typer.echo(f"operator {url}")
        typer.echo(f"token in {token_file}")
