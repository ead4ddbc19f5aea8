"""`sealmint serve`, which the command line finds through the entry-point group `sealmint.commands`."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import orjson
import trio
import typer

from engine.audit.store_migration import open_record
from engine.authority.role_certificates import certificate_of, load_authority
from engine.authority.signing import PIN_PROMPT, read_pin
from engine.clock import SystemClock
from engine.config import Configuration, PublicConfiguration, load_host_configuration
from engine.home import Home
from responders.listening_sockets import parse_address
from responders.serve import Addresses, follower_stage, signer_stage
from responders.serve import serve as serve_until_stopped
from responders.supervisor import Stages

HomeOption = Annotated[
    Path, typer.Option(envvar="SEALMINT_HOME", help="The home directory of the CA.", file_okay=False)
]
OcspOption = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where the fast OCSP listener listens. Port 0: any free one.")
]
HttpOption = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where OCSP, CRLs, CA certificates and health are served.")
]
ProcessesOption = Annotated[
    int | None, typer.Option(min=1, max=256, help="Listener processes; one for each CPU without it.")
]
WithoutSignersOption = Annotated[
    bool,
    typer.Option("--without-signers", help="Pre-signer, CRL publisher and live signer run elsewhere."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def serve(
    home: HomeOption = Path("sealmint-home"),
    ocsp: OcspOption = "127.0.0.1:2560",
    http: HttpOption = "127.0.0.1:8080",
    processes: ProcessesOption = None,
    without_signers: WithoutSignersOption = False,
    as_json: JsonOption = False,
) -> None:
    """Serve OCSP, CRLs and CA certificates until stopped; from a public host's home, its copy of what is published.

    SIGHUP replaces the processes that answer, one by one.
    """
    opened = Home(home)
    configuration = load_host_configuration(opened.path)
    addresses = parse_address(ocsp), parse_address(http)
    with opened.lock("serve", "serving"):
        before, pin = _behind_the_front(opened, configuration, without_signers)

        def tell(where: Addresses) -> None:
            _tell(where, as_json)

        async def run() -> None:
            await serve_until_stopped(
                before,
                opened.path,
                *addresses,
                processes or os.cpu_count() or 1,
                pin=pin,
                on_ready=tell,
            )

        trio.run(run)


def _behind_the_front(
    home: Home, configuration: Configuration | PublicConfiguration, without_signers: bool
) -> tuple[Stages, bytes]:
    """Return the stages of processes beside those that answer, and the PIN where it was typed.

    A public host has none: `sealmint feed pull --follow` keeps its copy up, as another user.
    """
    if isinstance(configuration, PublicConfiguration):
        certificate_of(home, "ca")  # a home that is not finished is told so here, not by every process
        return [], b""
    load_authority(home, configuration)
    _migrate(home, configuration)
    follower = follower_stage(home.path)
    if without_signers:
        return [follower], b""
    typed = configuration.token.pin_file == PIN_PROMPT
    watch_token = configuration.token.health_seconds > 0
    return [follower, signer_stage(home.path, configuration.ocsp, watch_token=watch_token)], (
        read_pin(configuration).reveal() if typed else b""
    )


def _migrate(home: Home, configuration: Configuration) -> None:
    """Bring an older store to the newest revision, before many processes open it."""
    actor = f"account {getpass.getuser()}"
    store = open_record(
        configuration.store, SystemClock(), actor, lambda: home.lock("home", "migrating the store")
    )
    store.close()


def _tell(where: Addresses, as_json: bool) -> None:
    """Say where the host answers, as soon as it does."""
    document = {"ocsp": where.ocsp, "http": where.http, "pid": os.getpid()}
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    else:
        typer.echo(f"OCSP {where.ocsp}")
        typer.echo(f"HTTP {where.http}")
