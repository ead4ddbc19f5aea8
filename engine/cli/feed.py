"""`sealmint feed`: what is published, on its way from the CA host to public hosts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import trio
import typer

from engine.authority.observed import observed
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, errors
from engine.clock import SystemClock
from engine.config import PublicConfiguration, load_public_configuration
from engine.errors import HomeUnusable, InputRejected, SealmintError
from engine.feed import admission, joining
from engine.feed.pull import Puller, open_pull
from engine.home import Home, write_private
from engine.json_log import json_log
from engine.metrics.process import count_log_lines
from engine.metrics.registry import Metrics

_GROUP_MAY_READ = 0o027
"""umask: the processes that answer may run as another user of the group."""

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


@app.command("pull")
def pull(
    url: Annotated[
        str | None, typer.Option("--from", help="https://host:port; [feed].url without it.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until SIGINT or SIGTERM.")] = False,
    from_nothing: Annotated[
        bool,
        typer.Option(
            "--from-nothing", help="Build new copies beside those in use, whatever they have come to."
        ),
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """On a public host: bring its copies to where the CA's record stands, each piece verified."""
    configuration = load_public_configuration(home)
    os.umask(_GROUP_MAY_READ)
    opened = partial(open_pull, Home(home), configuration, SystemClock(), url=url, from_nothing=from_nothing)
    if follow:
        trio.run(_follow, opened, configuration, as_json)
        return
    outcome = trio.run(_pull_once, opened)
    failed = {lane: error for lane, error in outcome.items() if error is not None}
    for lane, error in list(failed.items())[1:]:
        errors.print(f"{lane}: {error}", soft_wrap=True)
    for error in failed.values():
        raise error
    answer(_told(outcome), as_json, text="the copies stand where the record stands")


Opened = Callable[[], AbstractAsyncContextManager[Puller]]
Outcome = Mapping[str, SealmintError | None]


async def _pull_once(opened: Opened) -> Outcome:
    async with opened() as puller:
        return await puller.pull_once()


async def _follow(opened: Opened, configuration: PublicConfiguration, as_json: bool) -> None:
    """Follow the feed until a signal comes."""

    def caught_up(outcome: Outcome) -> None:
        said = _told(outcome)
        line = orjson.dumps(said).decode() if as_json else "; ".join(f"{k} {v}" for k, v in said.items())
        print(line, flush=True)  # noqa: T201 - the one line that whoever started this waits for

    metrics = Metrics()
    log = json_log("feed-pull", counted=count_log_lines(metrics))
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async with (
            observed(configuration, "feed-pull", metrics, log),
            opened() as puller,
            trio.open_nursery() as nursery,
        ):
            log.info("following")
            nursery.start_soon(puller.follow, log, configuration.feed.wait_seconds, caught_up, metrics)
            async for _ in received:
                nursery.cancel_scope.cancel()
                break
    log.info("stopped")


def _told(outcome: Outcome) -> dict[str, object]:
    return {lane: "current" if error is None else type(error).__name__ for lane, error in outcome.items()}


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
