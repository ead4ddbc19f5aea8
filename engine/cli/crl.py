"""`sealmint crl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.table import Table
from sqlalchemy import Connection

from engine.authority.context import AuthorityContext
from engine.authority.role_certificates import prove_key
from engine.authority.signing import open_pool, open_token, read_pin
from engine.cli.opening import open_context
from engine.cli.output import (
    DEFAULT_HOME,
    EXIT_INCOMPLETE,
    HomeOption,
    JsonOption,
    errors,
    people,
    table,
    write_json,
)
from engine.clock import TAIPEI
from engine.errors import InputRejected, SealmintError, TokenError
from engine.status.crl_files import file_of
from engine.status.crl_generation import CrlGenerator, PublishedIssue, pool_signer
from engine.status.crl_scopes import add_missing_scopes, scope_name
from engine.store.crl_entries import changes_by_partition
from engine.store.crls import COMPLETE, Scope, all_scopes, last_delta, last_full, partitions_in_use
from engine.store.status_changes import last_change

app = typer.Typer(
    help="Certificate revocation lists: publish them now, see how old they are.", no_args_is_help=True
)


@app.command("publish")
def publish(
    home: HomeOption = DEFAULT_HOME,
    scope: Annotated[
        str | None, typer.Option(help="`complete`, or a partition's number; every scope without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make CRLs now, sign them, and put their files in place; those that are due every day count as made."""
    with open_context(home) as context:
        add_missing_scopes(context.store)
        chosen = _chosen(context, scope)
        published, failed = trio.run(_publish, context, chosen) if chosen else ([], [])
        documents = [_published_document(one) for one in published]
    if as_json:
        write_json({"published": documents, "failed": failed})
    else:
        names = ("scope", "number", "base_number", "entries", "next_update", "file")
        people.print(_table(names, documents))
        for failure in failed:
            errors.print(f"{failure['uri']}: {failure['message']}", soft_wrap=True)
    if failed:
        raise typer.Exit(EXIT_INCOMPLETE)


async def _publish(
    context: AuthorityContext, scopes: Sequence[Scope]
) -> tuple[list[PublishedIssue], list[dict[str, str]]]:
    """Publish scope after scope; one that cannot be published does not keep the others, the token does."""
    ca = context.authority.ca
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    await trio.to_thread.run_sync(prove_key, token, pin, ca)
    published: list[PublishedIssue] = []
    failed = []
    async with open_pool(context.home, context.configuration, token, pin, [ca.key], 1) as pool:
        generator = CrlGenerator(context, pool_signer(pool))
        for scope in scopes:
            try:
                published += await generator.publish(scope.id)
            except TokenError:
                raise
            except SealmintError as error:
                if len(scopes) == 1:
                    raise
                failed.append({"uri": scope.uri, "error": type(error).__name__, "message": str(error)})
    return published, failed


def _chosen(context: AuthorityContext, name: str | None) -> list[Scope]:
    with context.store.read() as connection:
        named = _named_scopes(connection)
    chosen = [scope for scope, its_name in named if name in (None, its_name)]
    if name is not None and not chosen:
        raise InputRejected(
            "there is no such CRL scope",
            place="--scope",
            value=name,
            rule="one of: " + (", ".join(dict.fromkeys(its_name for _, its_name in named)) or "none yet"),
        )
    return chosen


def _named_scopes(connection: Connection) -> list[tuple[Scope, str]]:
    partitions = {partition.id: partition for partition in partitions_in_use(connection)}
    return [(scope, scope_name(scope, partitions)) for scope in all_scopes(connection)]


def _published_document(published: PublishedIssue) -> dict[str, object]:
    issue = published.issue
    return {
        "scope": published.scope,
        "number": issue.number,
        "base_number": issue.base_number,
        "scheduled": issue.scheduled,
        "entries": issue.entries,
        "this_update": _local(issue.this_update),
        "next_update": _local(issue.next_update),
        "file": str(published.path),
        "file_sha256": published.file_sha256.hex(),
    }


@app.command("status")
def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show every scope: its last CRL, how old that is, and how many changes wait for the next one."""
    with open_context(home) as context:
        add_missing_scopes(context.store)
        with context.store.read() as connection:
            now = context.clock.now()
            documents = [
                _scope_document(context, connection, scope, name, now)
                for scope, name in _named_scopes(connection)
            ]
    if as_json:
        write_json({"scopes": documents})
        return
    names = ("scope", "number", "entries", "this_update", "next_update", "age_minutes", "pending")
    people.print(_table(names, documents))


def _scope_document(
    context: AuthorityContext, connection: Connection, scope: Scope, name: str, now: datetime
) -> dict[str, object]:
    full, delta = last_full(connection, scope.id), last_delta(connection, scope.id)
    newest = max((issue for issue in (full, delta) if issue), key=lambda issue: issue.id, default=None)
    after = newest.feed_sequence if newest else 0
    changed = changes_by_partition(connection, after, last_change(connection))
    return {
        "scope": name,
        "uri": scope.uri,
        "file": str(file_of(Path(context.configuration.crl.directory), scope.uri)),
        "number": full.number if full else None,
        "entries": full.entries if full else None,
        "this_update": _local(full.this_update) if full else None,
        "next_update": _local(full.next_update) if full else None,
        "age_minutes": round((now - full.this_update).total_seconds() / 60, 1) if full else None,
        "delta_number": delta.number if delta else None,
        "delta_entries": delta.entries if delta else None,
        "pending": sum(
            count for partition, (count, *_) in changed.items() if scope.partition_id in (COMPLETE, partition)
        ),
    }


def _table(names: Sequence[str], documents: Sequence[Mapping[str, object]]) -> Table:
    """Lay out documents; a cRLNumber is read as a date, so it has no commas."""
    rows = [
        [
            str(document[name]) if name.endswith("number") and document[name] is not None else document[name]
            for name in names
        ]
        for document in documents
    ]
    return table(None, names, rows)


def _local(moment: datetime) -> str:
    return moment.astimezone(TAIPEI).isoformat()
