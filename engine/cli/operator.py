"""`sealmint operator`; its commands come from the rooms that serve."""

from __future__ import annotations

import typer

app = typer.Typer(help="The operator's page, and the metrics for monitoring.", no_args_is_help=True)
