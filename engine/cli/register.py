"""`sealmint register`."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.output import EXIT_INCOMPLETE, JsonOption, people, table, write_json
from engine.kinds import Kind
from engine.register.readers import read_register
from engine.register.row import RowRejected

app = typer.Typer(help="The register extract.", no_args_is_help=True)

SHOWN = 20
"""Rejected rows shown to a person; --json gives all."""


@app.callback()
def _group() -> None:
    """The register extract."""


@app.command("check")
def check(
    register: Annotated[
        Path, typer.Option(help="The extract: JSON lines, JSON array or CSV.", dir_okay=False)
    ],
    kind: Annotated[Kind | None, typer.Option(help="What every row is, where the rows do not say.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a register extract and say what is wrong with which row. Needs no home and writes nothing."""
    kinds: Counter[str] = Counter()
    rejected: list[RowRejected] = []
    for row in read_register(register, kind=kind):
        if isinstance(row, RowRejected):
            rejected.append(row)
        else:
            kinds[row.kind.value] += 1
    ordered = sorted(rejected, key=lambda row: (row.reason.value, row.row_number))
    reasons = {
        reason: len(list(group)) for reason, group in groupby(ordered, key=lambda row: row.reason.value)
    }
    if as_json:
        write_json(
            {
                "rows": kinds.total() + len(rejected),
                "good": kinds.total(),
                "rejected": len(rejected),
                "kinds": kinds,
                "reasons": reasons,
                "rejects": [
                    {
                        "row": row.row_number,
                        "identifier": row.identifier,
                        "reason": row.reason.value,
                        "field": row.field,
                        "detail": row.detail,
                    }
                    for row in rejected
                ],
            }
        )
    else:
        people.print(
            table(None, ("", "rows"), [("good", kinds.total()), *kinds.items(), ("rejected", len(rejected))])
        )
        if rejected:
            shown = [
                (r.row_number, r.identifier, r.reason.value, r.field, r.detail) for r in rejected[:SHOWN]
            ]
            people.print(table("rejected", ("row", "identifier", "reason", "field", "detail"), shown))
        if len(rejected) > SHOWN:
            people.print(f"… and {len(rejected) - SHOWN:,} more (--json shows all)")
    if rejected:
        raise typer.Exit(EXIT_INCOMPLETE)
