"""`sealmint usage`: who asked how much: accounts of relying parties, and the monthly report (CPS 4.4.12)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.authority.context import AuthorityContext
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, people, table, write_json
from engine.errors import InputRejected
from engine.feed.self_signed import check_name
from engine.feed.usage_collection import open_public_host
from engine.store.relying_party_accounts import all_accounts, open_accounts
from engine.usage.account_list import write_account_list
from engine.usage.accounts import close_account, open_account
from engine.usage.collection import Collected, SpoolDirectory, collect
from engine.usage.report import COLUMNS, ReportRow, check_month, csv_of, monthly_report

app = typer.Typer(
    help="Who asked how much: accounts of relying parties, and the monthly report (CPS 4.4.12).",
    no_args_is_help=True,
)
account = typer.Typer(help="Accounts of relying parties that pay for OCSP.", no_args_is_help=True)
app.add_typer(account, name="account")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the relying party.")]


@app.callback()
def group() -> None:
    """Who asked how much: accounts of relying parties, and the monthly report (CPS 4.4.12)."""


@account.command("open")
def open_(
    name: NameArgument,
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK", help="Whose requests are theirs, such as 203.0.113.0/24; may be repeated."
        ),
    ] = None,
    monthly_quota: Annotated[
        int | None,
        typer.Option(help="Answers in a calendar month, on each public host; no limit without it."),
    ] = None,
    token: Annotated[
        bool, typer.Option("--token/--no-token", help="Whether it gets a token for the path of its requests.")
    ] = True,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Open an account. Its token is shown now and never again."""
    with open_context(home) as context:
        opened = open_account(
            context.store,
            context.clock,
            context.actor,
            name=name,
            address_ranges=address or [],
            monthly_quota=monthly_quota,
            with_token=token,
        )
        _list_here(context)
    document = {
        "account": name,
        "token": opened.token,
        "path": None if opened.token is None else f"/t/{opened.token}/",
        "address_ranges": opened.account.address_ranges,
        "monthly_quota": monthly_quota,
    }
    answer(document, as_json)


@account.command("close")
def close(name: NameArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Close an account: its token is void, its addresses are free; its name is not given again."""
    with open_context(home) as context:
        close_account(context.store, context.clock, context.actor, name)
        _list_here(context)
    answer({"account": name, "closed": True}, as_json)


@account.command("list")
def list_(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all accounts, the closed ones too."""
    with open_context(home) as context, context.store.read() as connection:
        accounts = all_accounts(connection)
    documents = [
        {
            "account": one.name,
            "token": one.token_sha256 is not None,
            "address_ranges": one.address_ranges,
            "monthly_quota": one.monthly_quota,
            "opened_at": one.opened_at.isoformat(),
            "closed_at": None if one.closed_at is None else one.closed_at.isoformat(),
        }
        for one in accounts
    ]
    if as_json:
        write_json({"accounts": documents})
    else:
        columns = ("account", "token", "address_ranges", "monthly_quota", "opened_at", "closed_at")
        people.print(table(None, columns, [tuple(one.values()) for one in documents]))


@app.command("collect")
def collect_(
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="URL_OR_DIRECTORY",
            help="Where a public host serves its counts, or a copy of its spool.",
        ),
    ],
    host: Annotated[
        str | None, typer.Option(help="Whose spool it is; needed with a directory, found out with a URL.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Fetch what relying parties asked a public host since the last time."""
    with (
        open_context(home) as context,
        context.home.lock("usage-collect", "collecting the counts of public hosts"),
    ):
        name, new = _collected(context, source, host)
    answer({"host": name, "files": new.files, "octets": new.octets, "answers": new.answers}, as_json)


@app.command("report")
def report(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="A calendar month in Taipei.")],
    out: Annotated[Path | None, typer.Option(help="Write CSV to this file.", dir_okay=False)] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """What each relying party is to pay for, as CSV: of all hosts whose counts were collected."""
    check_month(month)
    with open_context(home) as context, context.store.read() as connection:
        accounts = all_accounts(connection)
        rows, hosts = monthly_report(Path(context.configuration.metering.collected), month, accounts)
    text = csv_of(rows)
    if out is not None:
        _write(out, text)
    if as_json:
        write_json({"month": month, "hosts": hosts, "accounts": [_document(row) for row in rows]})
    elif out is None:
        typer.echo(text, nl=False)
    else:
        people.print(f"{len(rows)} accounts, counts of the hosts {', '.join(hosts) or 'none'}: {out}")


def _list_here(context: AuthorityContext) -> None:
    """Tell the processes of this host that answer, if any do; public hosts learn it by the feed."""
    with context.store.read() as connection:
        accounts = open_accounts(connection)
    write_account_list(Path(context.configuration.metering.accounts), accounts)


def _collected(context: AuthorityContext, source: str, host: str | None) -> tuple[str, Collected]:
    collected = Path(context.configuration.metering.collected)
    if not source.startswith("https://"):
        if host is None:
            rule = "a directory does not say whose it is"
            raise InputRejected("the name of the host is missing", place="--host", rule=rule)
        check_name(host)
        spool = SpoolDirectory(Path(source))
        return host, collect(spool, collected / host, context.store, context.clock, context.actor)
    with open_public_host(source, context.home, context.configuration) as public:
        if public.name is None or host not in (None, public.name):
            rule = f"it is {public.name} that answers"
            raise InputRejected("this is another host", place="--host", value=host, rule=rule)
        copies = collected / public.name
        return public.name, collect(public, copies, context.store, context.clock, context.actor)


def _document(row: ReportRow) -> dict[str, object]:
    values = (row.account, row.month, row.answers, row.refused, row.first_day or None, row.last_day or None)
    return dict(zip(COLUMNS, values, strict=True))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8", newline="")
    except OSError as error:
        raise InputRejected("the report cannot be written", place=str(path), value=error.strerror) from error
