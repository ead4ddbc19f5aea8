"""`sealmint store`."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.backup.store_copy import copy_store
from engine.cli.output import JsonOption, answer
from engine.store.database import open_store

app = typer.Typer(help="The database of the record.", no_args_is_help=True)


@app.callback()
def store() -> None:
    """The database of the record."""


@app.command("copy")
def copy(
    source: Annotated[str, typer.Option("--from", help="URL of the database that has the record.")],
    target: Annotated[
        str, typer.Option("--to", help="URL of an empty database, as the role that owns its tables.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy the record into an empty database, and compare both. Nobody can write to the record meanwhile."""
    opened = open_store(source, must_exist=True)
    try:
        into = open_store(target)
        try:
            copied = copy_store(opened, into)
        finally:
            into.close()
    finally:
        opened.close()
    rows = sum(table.rows for table in copied.values())
    answer(
        {"tables": {name: table.document() for name, table in copied.items()}, "verified": True},
        as_json,
        text=f"{rows:,} rows in {len(copied)} tables copied and compared; the audit chain is whole",
    )
