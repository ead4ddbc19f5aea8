"""`sealmint backup`, `sealmint restore`, `sealmint drill`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from engine.backup.chunk_store import ChunkStore
from engine.backup.making import make_backup
from engine.checker.check import check_home
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, errors
from engine.cli.putting_back import First, put_back
from engine.errors import CheckFailed, HomeUnusable
from engine.home import Home

FromOption = Annotated[Path, typer.Option("--from", help="The directory of the backups.", file_okay=False)]
ManifestOption = Annotated[
    str | None, typer.Option(help="Which backup, a name in manifests/; without it the newest.")
]


def backup(
    out: Annotated[Path, typer.Option(help="The directory of the backups.", file_okay=False)],
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Write what is new, relying on what is there.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Back up the record and the files of a home while it works. Token, PINs and private keys are not in it."""
    with open_context(home) as context, context.home.lock("backup", "making a backup"):
        if out.absolute().is_relative_to(context.home.path):
            raise HomeUnusable("a backup inside the home is lost with it", place=str(out))
        made = make_backup(
            context.home.path,
            context.store,
            context.clock,
            context.actor,
            ChunkStore(out),
            incremental=incremental,
        )
    answer(
        {
            "manifest": made.manifest,
            "base": made.base,
            "rows": sum(made.tables.values()),
            "files": made.files,
            "new_chunks": made.new_chunks,
            "new_octets": made.new_octets,
        },
        as_json,
    )


def restore(
    source: FromOption,
    manifest: ManifestOption = None,
    store_url: Annotated[
        str | None, typer.Option(help="An empty database for the record; without it where the backup had it.")
    ] = None,
    first: Annotated[
        First | None, typer.Option(help="status: repository and OCSP first (CPS 4.8.1), the rest afterwards.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back into a new place. Token, PIN and private keys are yours to put there."""

    def tell() -> None:
        errors.print(f"OCSP and CRLs can be served from now on: sealmint serve --home {home}")

    done = put_back(source, manifest, Home(home), store_url, first=first, on_answering=tell)
    answer(done.document(), as_json)


def drill(source: FromOption, manifest: ManifestOption = None, as_json: JsonOption = False) -> None:
    """Put a backup back into a place of its own, judge it by the independent checker, tell how long each step took."""
    with tempfile.TemporaryDirectory(prefix="sealmint-drill-") as directory:
        place = Home(Path(directory) / "home")
        url = f"sqlite:///{place.path / 'store.sqlite'}"
        done = put_back(source, manifest, place, url, first=First.STATUS)
        report = check_home(place.path)
    document = done.document()
    document["seconds"] = {**done.seconds, "check": report.seconds}
    kept = ("manifest", "verified", "rows", "files", "cards_with_status", "seconds")
    answer({**{name: document[name] for name in kept}, "check": report.document()}, as_json)
    if not report.ok:
        raise typer.Exit(CheckFailed.exit_code)
