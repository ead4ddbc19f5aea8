"""`sealmint ocsp`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import trio
import typer

from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import ocsp_responders, responder_in_charge
from engine.authority.signing import PIN_PROMPT, open_token, read_pin
from engine.cli.interruption import stopped_by_signals
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, EXIT_INCOMPLETE, HomeOption, JsonOption, answer
from engine.clock import TAIPEI
from engine.errors import HomeUnusable, TokenError
from engine.status.follower import POLL_SECONDS, Follower
from engine.status.responder_renewal import renew_responder, renewal_is_due
from engine.status.status_store import StatusReader
from engine.store.answer_counts import count_answers
from engine.store.status_changes import last_change

PATIENCE_SECONDS = 120.0
"""How long a command waits for a follower that is at work. A guess: it may just be building the store."""

app = typer.Typer(help="OCSP answers signed ahead, and this host's copy of the status.", no_args_is_help=True)


@app.command("presign")
def presign(
    home: HomeOption = DEFAULT_HOME,
    signers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that sign side by side; [ocsp].signers without it."),
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(min=1, max=64, help="PKCS#11 sessions of each; [ocsp].sessions without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Sign every OCSP answer that is missing, owed or due, and bring this host's status store up to date."""
    with open_context(home) as context:
        settings = context.configuration.ocsp
        failed = trio.run(_sign, context, signers or settings.signers, sessions or settings.sessions)
        follow(context)
        with context.store.read() as connection:
            counts = count_answers(connection, context.clock.now())
    if failed:
        raise TokenError("not every answer could be signed; what is missing stands above", place=str(home))
    answer(
        {"cards": counts.cards, "answered": counts.answered, "owed": counts.owed, "due": counts.due}, as_json
    )
    if counts.answered < counts.cards or counts.owed or counts.due:  # it was stopped
        raise typer.Exit(EXIT_INCOMPLETE)


async def _sign(context: AuthorityContext, signers: int, sessions: int) -> int:
    """Run signer processes to their end; return how many failed."""
    failed = 0

    async def sign(place: int, stop: trio.Event) -> None:
        nonlocal failed
        command = [sys.executable, "-P", "-m", "engine.status.pre_signer", "--home", str(context.home.path)]
        command += ["--name", f"pre-signer-once-{place + 1}"]
        command += ["--once", "--share", f"{place}/{signers}", "--sessions", str(sessions)]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, start_new_session=True)
        try:
            if process.stdin is not None and pin is not None:
                await process.stdin.send_all(pin + b"\n")
            async with trio.open_nursery() as waiting:
                waiting.start_soon(_close_when, stop, process)
                failed += bool(await process.wait())
                waiting.cancel_scope.cancel()
        finally:
            process.kill()

    pin = typed_pin(context)
    async with stopped_by_signals() as stop, trio.open_nursery() as nursery:
        for place in range(signers):
            nursery.start_soon(sign, place, stop)
    return failed


async def _close_when(stop: trio.Event, process: trio.Process) -> None:
    await stop.wait()
    process.terminate()


def typed_pin(context: AuthorityContext) -> bytes | None:
    """Ask for the PIN once where it is typed; the processes get it on their standard input."""
    if context.configuration.token.pin_file != PIN_PROMPT:
        return None
    return read_pin(context.configuration).reveal()


def follow(context: AuthorityContext) -> None:
    """Bring the status store up to the end of the feed; where a follower is at work, wait for it to come so far.

    Raises:
        HomeUnusable: the store is held by a process that does not bring it up.
    """
    directory = Path(context.configuration.ocsp.status_store)
    with context.store.read() as connection:
        end = last_change(connection)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _follow_here(context, directory)
        except HomeUnusable:
            if _position(directory) >= end:
                return None
            if time.monotonic() > give_up:
                raise
        time.sleep(POLL_SECONDS)


def _follow_here(context: AuthorityContext, directory: Path) -> None:
    with context.home.lock("status-store", "bringing the status store up to date"):
        follower = Follower(context, directory)
        follower.open()
        while follower.step():
            pass
        follower.close()


def _position(directory: Path) -> int:
    """How far the status store has come; -1 while there is none."""
    try:
        with StatusReader(directory) as reader:
            return reader.freshness().sequence
    except HomeUnusable:
        return -1


@app.command("rebuild")
def rebuild(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Build this host's status store anew out of the record; responders change over when it is complete."""
    with (
        open_context(home) as context,
        context.home.lock("status-store", "building the status store"),
    ):
        directory = Path(context.configuration.ocsp.status_store)
        follower = Follower(context, directory)
        cards = follower.rebuild()
        follower.close()
    answer({"cards": cards, "status_store": str(directory)}, as_json)


@app.command("status")
def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show how many cards have their answer, who signs, and how current this host's copy is."""
    with open_context(home) as context:
        now = context.clock.now()
        with context.store.read() as connection:
            counts = count_answers(connection, now)
            responders = ocsp_responders(connection, context.authority.issuer.algorithm)
            end = last_change(connection)
        in_charge = responder_in_charge(responders, now)
        position = _position(Path(context.configuration.ocsp.status_store))
    document = {
        **counts._asdict(),
        "responder": None if in_charge is None else in_charge.role.role,
        "responder_not_after": None
        if in_charge is None
        else in_charge.not_after.astimezone(TAIPEI).isoformat(),
        # Entries of the change feed; nothing where this host has no copy.
        "status_store_behind": None if position < 0 else end - position,
    }
    answer(document, as_json)


@app.command("renew-responder")
def renew(
    home: HomeOption = DEFAULT_HOME,
    now: Annotated[bool, typer.Option("--now", help="Also where the one in charge has time left.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new OCSP key and certificate if the one in charge ends soon, as the CRL publisher does by itself."""
    with open_context(home) as context:
        if not now and not renewal_is_due(context):
            answer({"renewed": False}, as_json)
            return
        token = open_token(context.home, context.configuration)
        role = trio.run(renew_responder, context, token, read_pin(context.configuration))
        follow(context)
    answer({"renewed": True, "responder": role}, as_json)
