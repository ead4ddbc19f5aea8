"""`sealmint pool`: the sessions of running processes, looked at and changed without a restart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from rich.live import Live

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.cli.opening import open_context
from engine.cli.output import (
    DEFAULT_HOME,
    EXIT_INTERRUPTED,
    HomeOption,
    JsonOption,
    answer,
    errors,
    people,
    write_json,
)
from engine.cli.pool_sweep import pool_sweep
from engine.cli.pool_tables import PoolStatus, pool_tables, status_document
from engine.config import load_host_configuration
from engine.control.client import RunningProcess, ask, ask_all, running_processes
from engine.errors import HomeUnusable, InputRejected, SealmintError
from engine.home import Home
from engine.pkcs11.lane_table import set_parallel

CHANGE_SECONDS = 70.0
"""How long a change may take: it waits for the record, whose writers wait a minute for each other (BUSY_TIMEOUT_MS)."""

REFRESH_SECONDS = 1.0
"""Between two looks of the live table. A guess: faster than a person reads."""

app = typer.Typer(
    help="The sessions of running processes on the token: look at them, change them, measure the token.",
    no_args_is_help=True,
)
app.command("sweep")(pool_sweep)

ProcessOption = Annotated[
    str | None, typer.Option("--process", metavar="NAME", help="One process, as `pool status` names it.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every process that has a pool.")]


@app.command("status")
def status(
    home: HomeOption = DEFAULT_HOME,
    once: Annotated[bool, typer.Option("--once", help="Print the tables once, instead of live.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the pools of all running processes: sessions, lanes, waiting and signing times, errors. Ctrl-C ends it."""
    directory = _control_directory(home)
    if as_json:
        write_json(status_document(trio.run(_look, directory)))
    elif once or not people.is_terminal:
        people.print(pool_tables(trio.run(_look, directory)))
    else:
        try:
            trio.run(_live, directory)
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None


@app.command("resize")
def resize(
    home: HomeOption = DEFAULT_HOME,
    process: ProcessOption = None,
    every: AllOption = False,
    sessions: Annotated[
        int | None, typer.Option(min=1, max=256, help="Sessions of each such process.")
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=0, max=1_024, help="Calls in flight of all processes together; 0: as configured."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give processes another number of sessions, or the token another number of calls at once; until they end."""
    if (sessions is None) == (parallel is None):
        raise InputRejected("say what is to change", rule="either --sessions or --parallel")
    if sessions is not None:
        _change(home, process, every, "pool-resize", {"sessions": sessions}, as_json)
        return
    if process is not None or every:
        raise InputRejected("--parallel holds for all processes", rule="without --process and --all")
    answer({"parallel": parallel or None, "pools": _set_parallel(home, parallel or None)}, as_json)


@app.command("quarantine")
def quarantine(
    process: Annotated[
        str, typer.Option("--process", metavar="NAME", help="The process, as `pool status` names it.")
    ],
    session: Annotated[int, typer.Option(min=1, help="The session's number in it.")],
    home: HomeOption = DEFAULT_HOME,
    release: Annotated[bool, typer.Option("--release", help="Give it work again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give a session no more work after the message it is at; it stays open, and another takes its place."""
    _change(home, process, False, "pool-quarantine", {"session": session, "release": release}, as_json)


@app.command("drain")
def drain(
    home: HomeOption = DEFAULT_HOME,
    process: ProcessOption = None,
    every: AllOption = False,
    undo: Annotated[bool, typer.Option("--undo", help="Open the sessions again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Close a process's sessions after what they have in hand, and have it wait; until undone, or it ends."""
    _change(home, process, every, "pool-drain", {"undo": undo}, as_json)


async def _look(directory: Path) -> PoolStatus:
    """Ask all processes what they are, what their pools do, and how the keys are."""
    found = PoolStatus()

    async def look(verb: str, into: list[tuple[RunningProcess, dict[str, Any]]]) -> None:
        into.extend(await ask_all(directory, verb))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look, "describe", found.processes)
        nursery.start_soon(look, "pool", found.pools)
        nursery.start_soon(look, "token-health", found.health)
    if not found.processes:
        raise _nobody(directory)
    return found


async def _live(directory: Path) -> None:
    with Live(console=people, auto_refresh=False, screen=True) as live:
        while True:
            live.update(pool_tables(await _look(directory)), refresh=True)
            await trio.sleep(REFRESH_SECONDS)


def _change(
    home: Path, name: str | None, every: bool, verb: str, arguments: Mapping[str, Any], as_json: bool
) -> None:
    """Tell one process or all, and say how their pools are then.

    Raises:
        InputRejected: it is not said whom, or no process of that name has a pool, or the process found fault.
        HomeUnusable: no process is running, or one does not answer.
        AuditFailed, StoreError, ClockWrong: the process could not record the change, so it did not change anything.
    """
    if (name is None) != every:
        raise InputRejected("say which process", rule="either --process NAME or --all")
    changed, refused = trio.run(_tell, _control_directory(home), name, verb, arguments)
    if as_json and not refused:
        write_json({"processes": changed})
    else:
        for one in changed:
            drained = ", drained" if one["drained"] else ""
            text = f"{one['process']}: {one['size']} sessions wanted, {len(one['sessions'])} open{drained}"
            (errors if as_json else people).print(text)
    for process, error in refused[1:]:
        errors.print(f"{process.name}: {error}", soft_wrap=True)
    if refused:
        raise refused[0][1]


async def _tell(
    directory: Path, name: str | None, verb: str, arguments: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[tuple[RunningProcess, SealmintError]]]:
    """Return how the pools are that were changed, and who refused."""
    if not running_processes(directory):
        raise _nobody(directory)
    pools = [process for process, _ in await ask_all(directory, "pool")]
    named = [process for process in pools if name in (None, process.name)]
    if not named:
        rule = f"one of {', '.join(sorted({one.name for one in pools}))}" if pools else "none has a pool now"
        raise InputRejected("no such process has a pool", value=name, rule=rule)
    changed, refused = [], []
    for process in named:  # whoever refuses, the others are told
        try:
            pool = await ask(process, verb, arguments, CHANGE_SECONDS)
        except SealmintError as error:
            refused.append((process, error))
        else:
            changed.append({"process": process.name, "pid": process.pid, **pool})
    return changed, refused


def _set_parallel(home: Path, parallel: int | None) -> int:
    """Write the number where all pools read it, once it is recorded; return how many pools do."""
    with open_context(home) as context:
        if not running_processes(Path(context.configuration.control.directory)):
            raise _nobody(Path(context.configuration.control.directory))
        try:
            with context.store.write() as connection:
                append_record(
                    connection,
                    context.clock,
                    Event.POOL_CHANGED,
                    actor=context.actor,
                    body={"change": "parallel", "to": parallel},
                )
            pools = set_parallel(context.home.lane_table, parallel)
        except OSError as error:
            place = str(context.home.lane_table)
            raise HomeUnusable(
                "the lanes' table cannot be written", place=place, value=error.strerror
            ) from error
    if not pools:
        raise HomeUnusable(
            "no running pool shares the token by lanes; nothing was set", place="[lanes].enabled"
        )
    return pools


def _control_directory(home: Path) -> Path:
    return Path(load_host_configuration(Home(home).path).control.directory)


def _nobody(directory: Path) -> HomeUnusable:
    rule = "start one: sealmint serve, sealmint run start"
    return HomeUnusable("no process of this home is running", place=str(directory), rule=rule)
