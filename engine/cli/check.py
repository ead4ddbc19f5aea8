"""`sealmint check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.checker.check import Asked, check_home
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, people, write_json
from engine.errors import CheckFailed


def check(
    home: HomeOption = DEFAULT_HOME,
    signature_log: Annotated[
        Path | None, typer.Option(help="The pretend HSM's log of all signatures.", dir_okay=False)
    ] = None,
    other_home: Annotated[
        list[Path] | None,
        typer.Option(help="A home that shares the record. May be given again.", file_okay=False),
    ] = None,
    ocsp: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask this OCSP responder about every certificate.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="URL", help="Fetch the CRLs that this host serves.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Ask about all withdrawn certificates and about so many others only."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a home by its files, its database and what it serves, with code of its own; nothing is changed."""
    report = check_home(
        home,
        signature_log=signature_log,
        other_homes=other_home or (),
        asked=Asked(ocsp, http, sample),
    )
    if as_json:
        write_json(report.document())
    else:
        for finding in report.findings:
            people.print(f"{finding.rule}: {finding.place}: {finding.what}")
        people.print("in order" if report.ok else f"{len(report.findings)} findings", report.counted)
    if not report.ok:
        raise typer.Exit(CheckFailed.exit_code)
