"""`sealmint feed`: what is published, on its way from the CA host to public hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer
from engine.clock import SystemClock
from engine.errors import HomeUnusable, InputRejected
from engine.feed import admission, joining
from engine.home import Home, write_private

app = typer.Typer(
    help="What is published, on its way from the CA host to public hosts.", no_args_is_help=True
)


@app.callback()
def group() -> None:
    """What is published, on its way from the CA host to public hosts."""


@app.command("request")
def request(
    name: Annotated[str, typer.Option(help="The name of this host among those who read the feed.")],
    out: Annotated[Path, typer.Option(help="Where the certificate to be handed in goes.", dir_okay=False)],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """On a public host: make a home and a key, and the certificate with which it asks to be admitted."""
    certificate = joining.request_admission(Home(home), name, SystemClock())
    _write(out, certificate)
    answer(
        {"name": name, "request": str(out)},
        as_json,
        text=f"take {out} to the CA host, and there: sealmint feed admit",
    )


@app.command("admit")
def admit(
    request: Annotated[Path, typer.Option(help="What `feed request` made.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Where the admission goes.", dir_okay=False)],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """On the CA host: let a public host read the feed, and write what it must know."""
    with open_context(home) as context:
        name, admitted = admission.admit(context, _read(request))
    _write(out, admitted.document())
    answer(
        {"name": name, "admission": str(out), "feed": admitted.feed},
        as_json,
        text=f"{name} is admitted; take {out} to it, and there: sealmint feed join",
    )


@app.command("join")
def join(
    document: Annotated[
        Path, typer.Option("--admission", help="What `feed admit` made.", exists=True, dir_okay=False)
    ],
    url: Annotated[str | None, typer.Option("--from", help="Where the feed is: https://host:port.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """On a public host: write down whom it is to believe from now on."""
    trust = joining.join(Home(home), _read(document), url)
    digest = joining.root_digest(trust)
    answer(
        {"feed": trust.feed, "root_sha256": digest},
        as_json,
        text=f"compare with the CA's before anything is pulled; SHA-256 of the root certificate:\n{digest}",
    )


@app.command("dismiss")
def dismiss(
    name: Annotated[str, typer.Option(help="The name under which it was admitted.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """On the CA host: let a public host read the feed no longer."""
    with open_context(home) as context:
        admission.dismiss(context, name)
    answer({"name": name}, as_json, text=f"{name} may no longer read the feed")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputRejected("the file cannot be read", place=str(path), value=error.strerror) from error


def _write(path: Path, octets: bytes) -> None:
    try:
        write_private(path, octets)
    except OSError as error:
        raise HomeUnusable("the file cannot be written", place=str(path), value=error.strerror) from error
