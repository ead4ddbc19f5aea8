"""`sealmint usage`: who asked how much: accounts of relying parties, and the monthly report (CPS 4.4.12)."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Who asked how much: accounts of relying parties, and the monthly report (CPS 4.4.12).",
    no_args_is_help=True,
)


@app.callback()
def group() -> None:
    """Who asked how much: accounts of relying parties, and the monthly report (CPS 4.4.12)."""
