"""`sealmint pool sweep`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from engine.authority.signing import open_token, read_pin
from engine.capacity.document import SweepDocument, save_document
from engine.capacity.instruments import require_instruments
from engine.capacity.others import others_on, refuse_others
from engine.capacity.pictures import draw_pictures
from engine.capacity.points import Shape, Slice
from engine.capacity.search import Space
from engine.capacity.sweep import SweepRequest, sessions_within, sweep
from engine.capacity.sweep_key import sweep_key
from engine.cli.interruption import stopped_by_signals
from engine.cli.opening import open_context
from engine.cli.output import (
    DEFAULT_HOME,
    EXIT_INTERRUPTED,
    HomeOption,
    JsonOption,
    errors,
    people,
    table,
    write_json,
)
from engine.errors import ConfigurationInvalid
from engine.issuance.run_context import RunContext

ROUNDS = 4
"""Slices of a point: the median is that of two in the middle, and orders alternate evenly. A guess."""

MOST_WORKERS = 64
MOST_SESSIONS = 512
MOST_BATCH = 64
"""CHUNK of engine/authority/signing.py: no session is handed more at once."""


def pool_sweep(
    home: HomeOption = DEFAULT_HOME,
    seconds_per_point: Annotated[
        float, typer.Option(min=0.05, max=600, help="Seconds of measuring for each shape.")
    ] = 2.0,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Numbers of processes, such as 1,2,4; doubled up to the CPUs without it."
        ),
    ] = None,
    max_sessions: Annotated[
        int, typer.Option(min=1, max=MOST_SESSIONS, help="Most sessions of all processes together.")
    ] = 64,
    batches: Annotated[
        str, typer.Option(metavar="LIST", help="Messages that a session is handed at once.")
    ] = "1,2,4,16,64",
    key: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Sign with this key, instead of one made for the sweep and destroyed after it.",
        ),
    ] = None,
    even_the_ca_key: Annotated[
        bool,
        typer.Option(
            "--even-the-ca-key",
            help="Allow --key to name the CA key, which signs certificates and CRLs only (CPS 6.1.9).",
        ),
    ] = False,
    beside_others: Annotated[
        bool, typer.Option("--beside-others", help="Measure although others use the token.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Directory of the results; in the home without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what the token does over processes, sessions and batch; find the knee and recommend what to set.

    Takes about two minutes on a quick token. Every signature is announced in the audit record. Results: sweep.json,
    sweep.csv and pictures.
    """
    require_instruments()
    batch_list = _numbers(batches, "--batches", MOST_BATCH)
    worker_list = _numbers(workers, "--workers", MOST_WORKERS) if workers else _doubled(os.cpu_count() or 1)
    with open_context(home) as context, context.home.lock("sweep", "sweeping the token"):
        token = open_token(context.home, context.configuration)
        others = trio.run(others_on, context.configuration, token)
        if beside_others and others:
            errors.print(f"measured beside {', '.join(others)}: they take from it, and it from them")
        elif not beside_others:
            refuse_others(others)
        most = sessions_within(token, max_sessions, max(worker_list))
        request = SweepRequest(Space(worker_list, most, batch_list, ROUNDS), seconds_per_point, tuple(others))
        pin = read_pin(context.configuration)
        with (
            sweep_key(context, token, pin, key, even_the_ca_key=even_the_ca_key) as used,
            _progress() as seen,
        ):
            document = trio.run(_until_stopped, partial(sweep, context, request, token, pin, used, seen))
        if document is None:
            raise typer.Exit(EXIT_INTERRUPTED)
        directory = _save(context, document, out)
    if as_json:
        write_json({**document.model_dump(mode="json"), "directory": str(directory)})
    else:
        _tell(document, directory)


async def _until_stopped(work: Callable[[], Awaitable[SweepDocument]]) -> SweepDocument | None:
    """Do the sweep; None when a signal ended it."""
    document: SweepDocument | None = None
    async with stopped_by_signals() as stop, trio.open_nursery() as nursery:

        async def watch() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        document = await work()
        nursery.cancel_scope.cancel()
    return document


def _numbers(text: str, option: str, most: int) -> tuple[int, ...]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1 or numbers[-1] > most:
        raise ConfigurationInvalid(
            "not a list of numbers", place=option, value=text, rule=f"1 to {most}, such as 1,2,4"
        )
    return tuple(numbers)


def _doubled(most: int) -> tuple[int, ...]:
    return tuple(sorted({min(2**power, most) for power in range(most.bit_length() + 1)}))


@contextmanager
def _progress() -> Iterator[Callable[[Shape, Slice], None]]:
    """Show on a terminal what is being measured, and the best so far. How many points it takes nobody knows before."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed} slices"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as bar:
        task = bar.add_task("opening the first session", total=None)
        best = 0.0

        def seen(shape: Shape, one: Slice) -> None:
            nonlocal best
            best = max(best, one.per_second)
            text = f"{shape.workers} workers, {shape.sessions} sessions, batch {shape.batch}: "
            text += f"{one.per_second:,.0f} a second, call {one.call.mean_ms:.2f} ms (best {best:,.0f})"
            bar.update(task, advance=1, description=text)

        yield seen


def _save(context: RunContext, document: SweepDocument, out: Path | None) -> Path:
    directory = out or context.home.capacity / f"{document.measured_at:%Y%m%dT%H%M%SZ}"
    save_document(document, directory)
    draw_pictures(document, directory)
    return directory


def _tell(document: SweepDocument, directory: Path) -> None:
    columns = (
        "workers",
        "sessions",
        "batch",
        "a second",
        "of plateau",
        "call p50",
        "p95",
        "p99 ms",
        "wait p50",
        "CPU µs",
    )
    people.print(
        table(
            None,
            columns,
            [
                (
                    point.workers,
                    point.sessions,
                    point.batch,
                    f"{point.per_second:,.0f}",
                    f"{(point.compared_per_second or point.per_second) / document.plateau_per_second:.0%}",
                    *(f"{value:.2f}" for value in (point.call.p50_ms, point.call.p95_ms, point.call.p99_ms)),
                    f"{point.wait.p50_ms:.2f}",
                    f"{point.cpu_microseconds:.0f}",
                )
                for point in document.points
            ],
        )
    )
    people.print()
    for reason in document.why:
        people.print(f"- {reason}")
    if document.fit is not None:
        people.print(f"- {_fit_in_words(document)}")
    advice = document.recommended
    people.print(
        f"\nIn sealmint.toml: [issuance] workers = {advice.workers}, sessions = {advice.sessions}; "
        f"[lanes] parallel = {advice.parallel}\nResults: {directory}"
    )


def _fit_in_words(document: SweepDocument) -> str:
    if document.fit is None:
        return "No model was fitted: too few points."
    fit = document.fit
    parameters = ", ".join(f"{name} {value:g}" for name, value in fit.parameters.items())
    return (
        f"Model kept: {fit.model} ({parameters}); it predicts a point from the others to {fit.left_out_error:.1%}, "
        f"{fit.other.model} to {fit.other.left_out_error:.1%}."
    )
