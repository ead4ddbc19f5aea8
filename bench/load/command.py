"""`sealmint load`, which the command line finds through the entry-point group `sealmint.commands`.

What it needs besides (locust, numpy, matplotlib) is the extra `instruments`, loaded when the command is called.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigurationInvalid

Scenario = Annotated[str, typer.Argument(metavar="SCENARIO", help="A scenario file, or one that is shipped.")]
Slo = Annotated[str, typer.Option(metavar="FILE", help="The objectives: a file, or one that is shipped.")]
Ocsp = Annotated[str, typer.Option(metavar="URL", help="The OCSP responder.")]
Http = Annotated[str, typer.Option(metavar="URL", help="The web front: CRLs, repository.")]
Out = Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Where result and report go.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        envvar="SEALMINT_HOME", file_okay=False, help="The home whose certificates are asked about."
    ),
]
TargetsOption = Annotated[
    Path | None, typer.Option("--targets", dir_okay=False, help="A file of targets, instead of a home.")
]
WriteTargets = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, help="Write the home's targets for a tester elsewhere, and do nothing else."
    ),
]
Processes = Annotated[int, typer.Option(min=1, max=256, help="Processes that make the load.")]
Verify = Annotated[float | None, typer.Option(min=0, max=1, help="Share of answers that is verified.")]
Seconds = Annotated[float | None, typer.Option(min=1, help="How long, if not as long as the scenario says.")]
Rate = Annotated[float, typer.Option(min=0.001, help="All rates of the scenario times this.")]
Seed = Annotated[int | None, typer.Option(help="Of everything random, if not the scenario's.")]
ChangeStatus = Annotated[
    bool, typer.Option("--change-status", help="The scenario may revoke or suspend certificates of the home.")
]
Run = Annotated[int | None, typer.Option(help="The run that the scenario starts.")]
NotLoopback = Annotated[
    bool, typer.Option("--not-loopback", help="Another host is meant, and you may load it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]

_NEEDED = ("locust", "numpy", "matplotlib")


def load(
    scenario: Scenario,
    slo: Slo = "ocsp",
    ocsp: Ocsp = "http://127.0.0.1:2560/",
    http: Http = "http://127.0.0.1:8080/",
    out: Out = Path("load-result"),
    home: HomeOption = None,
    targets: TargetsOption = None,
    write_targets: WriteTargets = None,
    processes: Processes = 2,
    verify: Verify = None,
    seconds: Seconds = None,
    rate: Rate = 1.0,
    seed: Seed = None,
    change_status: ChangeStatus = False,
    run: Run = None,
    not_loopback: NotLoopback = False,
    as_json: Json = False,
) -> None:
    """Load a host as a scenario says, and judge it by objectives. Exit code 0: all met; 20: one is missed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationInvalid(
            "a package for load tests is not installed",
            place=", ".join(missing),
            rule="pip install sealmint[instruments]",
        )
    from bench.load import load_test  # numpy and matplotlib, which other commands do not need

    wishes = load_test.Wishes(
        scenario=scenario,
        slo=slo,
        ocsp=ocsp,
        http=http,
        out=out,
        home=home,
        targets=targets,
        processes=processes,
        verify=verify,
        seconds=seconds,
        rate=rate,
        seed=seed,
        change_status=change_status,
        run=run,
        not_loopback=not_loopback,
        quiet=as_json,
    )
    if write_targets is not None:
        load_test.write_targets(wishes, write_targets, as_json)
    else:
        raise typer.Exit(load_test.load_test(wishes, as_json))
