"""A load test from the command's options to its exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bench.load import load_run
from bench.load.changes import IssuingRun, StatusChanges, subjects
from bench.load.expected_status import Acknowledged
from bench.load.load_run import Beside
from bench.load.objectives import Judgement, judge, load_service_level
from bench.load.plan import LoadPlan
from bench.load.popularity import Popularity
from bench.load.report import write_report
from bench.load.result import MET, result_of
from bench.load.scenario import Scenario, load_scenario
from bench.load.server_samples import ServerSamples
from bench.load.targets import Targets
from bench.load.targets_of_home import write_targets_of
from bench.load.urls import check_url, serves
from engine.cli.output import EXIT_INCOMPLETE, answer, errors, people, table, write_json
from engine.config import load_host_configuration
from engine.errors import ConfigurationInvalid, InputRejected

_REPOSITORY = "api/v1/service"
"""A page that only a host with the repository site has."""

_OCSP_KINDS = frozenset({"post", "get", "nonce"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """The command's options."""

    scenario: str
    slo: str
    ocsp: str
    http: str
    out: Path
    home: Path | None
    targets: Path | None
    processes: int
    verify: float | None
    seconds: float | None
    rate: float
    seed: int | None
    change_status: bool
    run: int | None
    not_loopback: bool
    quiet: bool


def write_targets(wishes: Wishes, path: Path, as_json: bool) -> None:
    """Write a home's targets, for a tester who is elsewhere.

    Raises:
        InputRejected: no home is named.
        SealmintError: its record cannot be read, or the file not written.
    """
    if wishes.home is None:
        raise InputRejected("targets are read from a home", place="--home")
    scenario = load_scenario(wishes.scenario)
    count = write_targets_of(wishes.home, path, scenario.seed if wishes.seed is None else wishes.seed)
    answer({"targets": count, "file": str(path)}, as_json)


def load_test(wishes: Wishes, as_json: bool) -> int:
    """Load, judge, write result and report; return the exit code.

    Raises:
        ConfigurationInvalid: the scenario or the objectives cannot be used.
        InputRejected: an option is missing, wrong, or names another host without saying that it may.
        HomeUnusable, StoreError: the home's record cannot be read.
        SealmintError: a process of the load ended before its time.
    """
    level = load_service_level(wishes.slo)
    scenario = _scenario(wishes)
    _check_options(wishes, scenario)
    _make_directory(wishes.out)
    plan = _plan(wishes, scenario)
    beside = _beside(wishes, plan)
    if not wishes.quiet:
        errors.print(
            f"{scenario.name}: {scenario.curve.arrivals:,.0f} arrivals in {scenario.curve.seconds:,.0f} s, "
            f"seed {scenario.seed}",
            soft_wrap=True,
        )
    with _bar(scenario, wishes.quiet) as show:
        record = trio.run(load_run.run_load, plan, beside, show)
    judgements = judge(level, record, scenario.curve.seconds)
    result = result_of(plan, level, record, judgements, beside)
    _write(wishes.out, result)
    _tell(wishes.out, result, judgements, as_json)
    return 0 if result["verdict"] == MET else EXIT_INCOMPLETE


def _scenario(wishes: Wishes) -> Scenario:
    scenario = load_scenario(wishes.scenario)
    if wishes.seconds is not None:
        scenario = scenario.lasting(wishes.seconds)
    if wishes.rate != 1.0:
        scenario = scenario.faster(wishes.rate)
    changes: dict[str, Any] = {}
    if wishes.verify is not None:
        changes["verify"] = wishes.verify
    if wishes.seed is not None:
        changes["seed"] = wishes.seed
    return scenario.model_copy(update=changes)


def _check_options(wishes: Wishes, scenario: Scenario) -> None:
    if wishes.home is None and wishes.targets is None:
        raise InputRejected("whom to ask about is not said", place="--home or --targets")
    if scenario.connections < wishes.processes:
        raise InputRejected(
            "there are fewer connections than processes", place="--processes", value=wishes.processes
        )
    needs_home = scenario.acts is not None or scenario.issuance is not None
    if needs_home and wishes.home is None:
        raise InputRejected("this scenario changes things on the CA host", place="--home")
    if scenario.acts is not None and not wishes.change_status:
        raise InputRejected(
            "this scenario changes the status of certificates for good",
            place="--change-status",
            rule=f"{scenario.acts.verb} of up to {scenario.acts.count} certificates must be allowed by it",
        )
    if scenario.issuance is not None and wishes.run is None:
        raise InputRejected("this scenario starts a run", place="--run")
    kinds = {kind.kind for kind in scenario.kinds}
    if kinds & _OCSP_KINDS:
        check_url(wishes.ocsp, "--ocsp", not_loopback=wishes.not_loopback)
    if kinds - _OCSP_KINDS:
        check_url(wishes.http, "--http", not_loopback=wishes.not_loopback)


def _make_directory(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / "parts", ignore_errors=True)
        (out / "parts").mkdir()
    except OSError as error:
        raise ConfigurationInvalid(
            "the result cannot be written", place=str(out), value=error.strerror
        ) from error


def _plan(wishes: Wishes, scenario: Scenario) -> LoadPlan:
    http = wishes.http.rstrip("/") + "/"
    for kind in scenario.kinds:
        if kind.optional and kind.kind == "search" and not serves(http + _REPOSITORY):
            scenario = scenario.without(kind.kind)
    targets, parts = wishes.targets, (wishes.out / "parts").absolute()
    if targets is None:
        assert wishes.home is not None  # checked with the options
        targets = parts / "targets"
        write_targets_of(wishes.home, targets, scenario.seed)
    return LoadPlan(
        scenario=scenario,
        ocsp=wishes.ocsp,
        http=http,
        targets=targets.absolute(),
        directory=parts,
        processes=wishes.processes,
    )


def _beside(wishes: Wishes, plan: LoadPlan) -> Beside:
    beside = Beside()
    scenario = plan.scenario
    if wishes.home is None:
        return beside
    beside.samples = ServerSamples(Path(load_host_configuration(wishes.home).control.directory))
    if scenario.acts is not None:
        targets = Targets(plan.targets)
        popularity = Popularity(len(targets), scenario.kinds[0].zipf, scenario.seed)
        serials = subjects(scenario.acts, targets, popularity, scenario.seed)
        acknowledged = Acknowledged(plan.acknowledged)
        beside.changes = StatusChanges(wishes.home, scenario.acts, serials, acknowledged, plan.directory)
    if scenario.issuance is not None and wishes.run is not None:
        beside.issuing = IssuingRun(wishes.home, wishes.run, scenario.issuance.start)
    return beside


@contextmanager
def _bar(scenario: Scenario, quiet: bool) -> Iterator[Callable[[load_run.Progress], None]]:
    """A bar on the terminal's error stream, so that standard output stays the result."""
    columns = (
        TextColumn(scenario.name),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=quiet) as bar:
        task = bar.add_task("load", total=scenario.curve.arrivals, counts="starting")

        def show(progress: load_run.Progress) -> None:
            counts = progress.counts
            offered = counts.get("offered", 0)
            told = ", ".join(
                f"{counts.get(name, 0):,} {name}"
                for name in ("good", "cached", "errors", "wrong", "missed")
                if counts.get(name) or name == "good"
            )
            bar.update(task, completed=offered, counts=told)

        yield show


def _write(out: Path, result: dict[str, Any]) -> None:
    try:
        (out / "result.json").write_text(json.dumps(result, ensure_ascii=False, indent=1))
        write_report(out / "report.html", result)
    except OSError as error:
        raise ConfigurationInvalid(
            "the result cannot be written", place=str(out), value=error.strerror
        ) from error


def _tell(out: Path, result: dict[str, Any], judgements: list[Judgement], as_json: bool) -> None:
    if as_json:
        write_json(result)
        return
    rows = [
        (one.objective, one.bound, one.value, "met" if one.met else "missed", one.margin)
        for one in judgements
    ]
    total = result["total"]
    people.print(table(None, ("objective", "bound", "measured", "", "margin"), rows))
    people.print(
        f"\n{total['offered']:,} offered, {total['sent']:,} sent, {total['cached']:,} from caches, "
        f"{total['good']:,} good, {total['verified']:,} verified, {sum(total['errors'].values()):,} errors, "
        f"{sum(total['wrong'].values()):,} wrong, {sum(total['missed'].values()):,} missed"
    )
    people.print(f"{result['verdict']}: {out / 'report.html'}")
