"""`sealmint card-centre`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from engine.authority.role_certificates import Authority
from engine.authority.signing import AUTHORITY_ALGORITHM, Sign, announced, open_signer, open_token, read_pin
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, errors
from engine.cli.runs import load_policy_named
from engine.clock import TAIPEI
from engine.issuance.card_exchange.card_delivery import CardCertificate, write_card_delivery
from engine.issuance.card_exchange.card_order import CardOrder, write_card_orders
from engine.issuance.development_card_centre.card_centre import open_card_centre
from engine.issuance.development_card_centre.card_making import CardRequest, make_card_keys
from engine.issuance.policy import Policy
from engine.issuance.run_context import RunContext
from engine.issuance.run_manifest import certificates
from engine.kinds import Kind, Rank, Usage
from engine.register.eligibility import judge
from engine.register.readers import read_register
from engine.register.row import RegisterRow
from engine.store.runs import get_run
from engine.x509.certificate import assemble

app = typer.Typer(help="The exchange with the card centre, and a development one.", no_args_is_help=True)

RegisterOption = Annotated[Path, typer.Option(help="The register extract: JSON lines, JSON array or CSV.")]
OutOption = Annotated[Path, typer.Option(help="The directory to write to; made if missing.", file_okay=False)]
KindOption = Annotated[Kind | None, typer.Option(help="What every row is, where the rows do not say.")]


@app.command("simulate")
def simulate(
    register: RegisterOption,
    out: OutOption,
    home: HomeOption = DEFAULT_HOME,
    kind: KindOption = None,
    rank: Annotated[Rank, typer.Option(help="The rank of the cards.")] = Rank.PRIMARY,
    synthetic: Annotated[
        bool,
        typer.Option(
            "--synthetic", help="Cheap keys for load runs: distinct and valid, never for real cards."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Play the card centre: make a card with key pairs for every good row, and sign the file."""
    with open_context(home) as context:
        centre = open_card_centre(context.home.card_centre, context.clock)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.completed:,} cards made"),
            TextColumn("{task.fields[note]}"),
        )
        note = "" if synthetic else "(RSA-2048, on all cores: some 5 s a hundred)"
        with Progress(*columns, console=errors, disable=as_json) as bar:
            task = bar.add_task("cards", total=None, note=note)
            made = trio.run(
                partial(
                    make_card_keys,
                    out,
                    _requests(register, kind, rank),
                    centre=centre,
                    synthetic=synthetic,
                    processes=os.cpu_count() or 1,
                    progress=lambda done: bar.update(task, completed=done),
                )
            )
    answer({"cards": made, "out": str(out), "synthetic": synthetic}, as_json)


def _requests(register: Path, kind: Kind | None, rank: Rank) -> Iterator[CardRequest]:
    """One card for each number of the extract; rows of one number need not be neighbours, so numbers are kept."""
    seen: set[str] = set()
    for row in read_register(register, kind=kind):
        if isinstance(row, RegisterRow) and row.identifier not in seen:
            seen.add(row.identifier)
            yield CardRequest(row.kind, row.identifier, rank)


@app.command("order")
def order(
    register: RegisterOption,
    policy: Annotated[str, typer.Option(help="A policy file, or the name of a shipped one.")],
    out: OutOption,
    home: HomeOption = DEFAULT_HOME,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the order of cards for every entity that the policy gives one, signed with the operations key."""
    with open_context(home) as context:
        rules = load_policy_named(policy)
        today = context.clock.now().astimezone(TAIPEI).date()
        orders = _orders(register, kind, rules, today)

        async def write(sign: Sign, authority: Authority) -> int:
            return await write_card_orders(
                out,
                orders,
                certificate=authority.operations.certificate,
                chain=authority.chain,
                now=context.clock.now(),
                sign=sign,
            )

        written = trio.run(_with_operations_key, context, "card orders", write)
    answer({"orders": written, "out": str(out)}, as_json)


def _orders(register: Path, kind: Kind | None, policy: Policy, today: date) -> Iterator[CardOrder]:
    numbers = count(1)
    seen: set[str] = set()
    for row in read_register(register, kind=kind):
        if (
            not isinstance(row, RegisterRow)
            or row.identifier in seen
            or judge(row, policy.eligibility, today)
        ):
            continue
        seen.add(row.identifier)
        for rule in policy.cards:
            yield CardOrder(
                next(numbers), row.kind, row.identifier, row.branch_name or row.name, rule.rank, rule.number
            )


@app.command("deliver")
def deliver(
    run: Annotated[int, typer.Option(help="The run whose certificates go to the card centre.")],
    out: OutOption,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write a run's certificates for the card centre to put into the cards, signed with the operations key."""
    with open_context(home) as context:
        with context.store.read() as connection:
            get_run(connection, run)
        deliveries = (
            CardCertificate(
                stored.card_number,
                Usage(stored.usage),
                int.from_bytes(stored.serial, "big"),
                assemble(stored.tbs, context.authority.issuer.algorithm, stored.signature),
            )
            for stored in certificates(context.store, run)
        )

        async def write(sign: Sign, authority: Authority) -> int:
            return await write_card_delivery(
                out,
                deliveries,
                details={"run": run},
                certificate=authority.operations.certificate,
                chain=authority.chain,
                now=context.clock.now(),
                sign=sign,
            )

        written = trio.run(_with_operations_key, context, f"certificates of run {run}", write)
    answer({"run": str(run), "certificates": written, "out": str(out)}, as_json)


async def _with_operations_key(
    context: RunContext, purpose: str, write: Callable[[Sign, Authority], Awaitable[int]]
) -> int:
    """Open the token and write something that the operations key signs, announced in the audit log."""
    token = open_token(context.home, context.configuration)
    pin = read_pin(context.configuration)
    operations = context.authority.operations
    async with open_signer(context.home, context.configuration, token, pin, [operations.key]) as signer:
        sign = signer(operations.key, AUTHORITY_ALGORITHM)
        audited = announced(sign, context.store, context.clock, actor=context.actor, purpose=purpose)
        return await write(audited, context.authority)
