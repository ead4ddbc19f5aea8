"""`sealmint run`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Row

from engine.authority.configured_profiles import configured_profiles
from engine.authority.observed import observed
from engine.authority.signing import open_token, read_pin
from engine.cli.interruption import stopped_by_signals
from engine.cli.opening import open_context
from engine.cli.output import (
    DEFAULT_HOME,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    HomeOption,
    JsonOption,
    RunArgument,
    answer,
    errors,
    people,
    table,
    write_json,
)
from engine.issuance.measurement import last_measurement
from engine.issuance.planning import PlanRequest, PlanSummary, make_plan
from engine.issuance.policy import Policy, load_policy
from engine.issuance.report import run_document, write_report
from engine.issuance.run_context import RunContext
from engine.issuance.runs import ask, retry, run_to_end
from engine.issuance.supervisor import WorkReport
from engine.issuance.workforce import workforce
from engine.kinds import Kind
from engine.metrics.catalogue import RUN_WORKERS_REPLACED
from engine.metrics.registry import Metrics
from engine.store.runs import RunState, get_run, list_runs, run_state, totals

app = typer.Typer(help="Mass issuance: plan, start, pause, resume, abort, look, retry.", no_args_is_help=True)

WorkersOption = Annotated[
    int | None, typer.Option(min=1, max=64, help="Worker processes; one for each CPU without it.")
]
SessionsOption = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="PKCS#11 sessions of each worker; as configured without it."),
]


def load_policy_named(name: str) -> Policy:
    """Load a policy by its path, or a shipped one by its name."""
    path = Path(name)
    return Policy.shipped(name) if not path.suffix and not path.exists() else load_policy(path)


@app.command("plan")
def plan(
    register: Annotated[Path, typer.Option(help="The register extract: JSON lines, JSON array or CSV.")],
    card_keys: Annotated[
        Path, typer.Option(help="The directory of the card centre's file and its manifest.")
    ],
    policy: Annotated[str, typer.Option(help="A policy file, or the name of a shipped one: all-companies.")],
    home: HomeOption = DEFAULT_HOME,
    kind: Annotated[Kind | None, typer.Option(help="What every row is, where the rows do not say.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; show what would be planned.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Plan a run: who gets which cards, by the policy. The same extract planned twice issues nothing twice."""
    with open_context(home) as context:
        request = PlanRequest(
            register=register,
            card_keys=card_keys,
            policy=load_policy_named(policy),
            kind=kind,
            trusted=[Path(path).read_bytes() for path in context.configuration.card_centre.trusted],
            actor=context.actor,
            processes=os.cpu_count() or 1,
            dry_run=dry_run,
        )
        summary = make_plan(
            context.home,
            context.store,
            context.clock,
            configured_profiles(context.configuration),
            context.authority.issuer.key_identifier,
            request,
        )
        document = _plan_document(context, summary)
    if as_json:
        write_json(document)
        return
    answer({name: value for name, value in document.items() if name != "rejects"}, as_json)
    if summary.run_id is not None and summary.items:
        people.print(f"\nnext: sealmint run start {summary.run_id} --home {home}")


def _plan_document(context: RunContext, summary: PlanSummary) -> dict[str, object]:
    rate = last_measurement(context)
    document: dict[str, object] = {
        "run": None if summary.run_id is None else str(summary.run_id),
        "rows": summary.rows,
        "eligible": summary.eligible,
        "rejected": summary.rejected,
        "merged": summary.merged,
        "already_held": summary.already_held,
        "items": summary.items,
        "units": summary.units,
        "reasons": dict(sorted(summary.reasons.items())),
        "cards": summary.cards,
        "cards_used": summary.cards_used,
        "cards_rejected": summary.cards_rejected,
        "card_reasons": dict(sorted(summary.card_reasons.items())),
        "intake_seconds": round(summary.intake_seconds, 3),
        "planning_seconds": round(summary.planning_seconds, 3),
        "estimated_seconds": None if rate is None else round(summary.items / rate.per_second, 1),
    }
    if summary.run_id is None:
        names = ("source", "row", "identifier", "reason", "field", "detail")
        document["rejects"] = [dict(zip(names, reject, strict=True)) for reject in summary.rejects]
    return document


@app.command("start")
def start(
    run: RunArgument,
    home: HomeOption = DEFAULT_HOME,
    workers: WorkersOption = None,
    sessions: SessionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a run, or go on with one that was paused or broken off. Ctrl-C pauses it; returns when done."""
    with open_context(home) as context:
        raise typer.Exit(_work(context, run, workers, sessions, as_json))


@app.command("resume")
def resume(
    run: RunArgument,
    home: HomeOption = DEFAULT_HOME,
    workers: WorkersOption = None,
    sessions: SessionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a paused run."""
    start(run, home, workers, sessions, as_json)


@app.command("pause")
def pause(run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Ask a run to pause: the units in hand are finished, no new one is begun."""
    with open_context(home) as context:
        working = ask(context, run, RunState.PAUSING)
        text = f"run {run} will pause after the units in hand" if working else f"run {run} is paused"
        answer({"run": str(run), "state": _state(context, run)}, as_json, text=text)


@app.command("abort")
def abort(run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """End a run for good. What is reserved is completed first; the rest is given back."""
    with open_context(home) as context:
        if ask(context, run, RunState.ABORTING):
            text = f"run {run} will end after the units in hand"
            answer({"run": str(run), "state": _state(context, run)}, as_json, text=text)
        else:
            raise typer.Exit(_work(context, run, 1, None, as_json))


@app.command("retry")
def retry_failed(
    run: RunArgument,
    home: HomeOption = DEFAULT_HOME,
    workers: WorkersOption = None,
    sessions: SessionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try the failed items of a run again, and only them; a reserved TBS is signed again as it is stored."""
    with open_context(home) as context:
        if retry(context, run) == 0:
            document = _outcome(context, run, None)
            answer(document, as_json, text=f"run {run} has no failed items")
        else:
            raise typer.Exit(_work(context, run, workers, sessions, as_json))


@app.command("status")
def status(
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="One run; all without it.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show where runs stand."""
    with open_context(home, only_reading=True) as context, context.store.read() as connection:
        rows = list_runs(connection) if run is None else [get_run(connection, run)]
        documents = [run_document(row, totals(connection, row.id)) for row in rows]
    if as_json:
        write_json({"runs": documents} if run is None else documents[0])
    elif run is None:
        names = ("run", "state", "policy", "items", "issued", "failed", "aborted", "pending", "reason")
        people.print(table(None, names, [[document.get(name) for name in names] for document in documents]))
    else:
        answer(documents[0], as_json)


@app.command("report")
def report(run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Write a run's report and its list of rejects (CSV) into the home, and show the totals."""
    with open_context(home) as context:
        document = write_report(context, run)
    answer(document, as_json)


def _state(context: RunContext, run: int) -> str:
    with context.store.read() as connection:
        return run_state(connection, run).value


def _work(context: RunContext, run: int, workers: int | None, sessions: int | None, as_json: bool) -> int:
    token = open_token(context.home, context.configuration)
    force = workforce(context, token, workers, sessions)
    pin = read_pin(context.configuration)
    with context.store.read() as connection:
        pending = totals(connection, run)["pending"]

    metrics = Metrics()
    replaced = metrics.counter(RUN_WORKERS_REPLACED)

    async def work() -> WorkReport:
        with _progress(pending, as_json) as show:
            async with (
                observed(context.configuration, f"run-{run}", metrics),
                stopped_by_signals() as stop,
            ):

                def progress(report: WorkReport) -> None:
                    replaced.reach(report.replaced)
                    show(report)

                return await run_to_end(context, run, token, pin, force=force, stop=stop, progress=progress)

    work_report = trio.run(work)
    document = _outcome(context, run, work_report)
    document["error"] = work_report.error
    document["left_to_another_home"] = work_report.elsewhere
    answer(document, as_json)
    if work_report.error is not None:
        if not as_json:
            errors.print(f"run {run} is {document['state']}: {work_report.error}", soft_wrap=True)
        return EXIT_INCOMPLETE
    if work_report.elsewhere and not as_json:
        doing = "is at work on it" if document["closed_at"] is None else "closed it"
        errors.print(f"run {run} is {document['state']}: another home {doing}", soft_wrap=True)
    if document["state"] == RunState.PAUSED.value:
        if not as_json:
            again = f"sealmint run start {run} --home {context.home.path}"
            errors.print(f"paused; go on with: {again}", soft_wrap=True)
        return EXIT_INTERRUPTED
    return EXIT_INCOMPLETE if document["failed"] else 0


@contextmanager
def _progress(pending: int, as_json: bool) -> Iterator[Any]:
    """A bar on the terminal's error stream, so that standard output stays the result."""
    columns = (
        TextColumn("issuing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=errors, disable=as_json, transient=False) as bar:
        task = bar.add_task("issuing", total=pending, rate="", note="")
        began = time.monotonic()

        def show(work_report: WorkReport) -> None:
            done = work_report.issued + work_report.failed
            rate = f"{done / (time.monotonic() - began):,.0f}/s"
            note = f"window opens {work_report.waiting_until}" if work_report.waiting_until else ""
            if work_report.waiting_for is not None:
                note = f"waiting for {work_report.waiting_for}"
            bar.update(task, completed=done, rate=rate, note=note)

        yield show


def _outcome(context: RunContext, run: int, work_report: WorkReport | None) -> dict[str, Any]:
    with context.store.read() as connection:
        row: Row[Any] = get_run(connection, run)
        document = run_document(row, totals(connection, run))
    if work_report is not None:
        document["seconds"] = round(work_report.seconds, 3)
        document["working_seconds"] = round(work_report.working_seconds, 3)
        document["issued_now"] = work_report.issued
        document["workers_lost"] = work_report.replaced
    return document
