"""`sealmint feed`: what is published, on its way from the CA host to public hosts."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="What is published, on its way from the CA host to public hosts.", no_args_is_help=True
)


@app.callback()
def group() -> None:
    """What is published, on its way from the CA host to public hosts."""
