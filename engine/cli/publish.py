"""`sealmint publish`: documents, news and notices for the repository (CPS 2.6.1, 8.1.2)."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Documents, news and notices for the repository (CPS 2.6.1, 8.1.2).", no_args_is_help=True
)


@app.callback()
def group() -> None:
    """Documents, news and notices for the repository (CPS 2.6.1, 8.1.2)."""
