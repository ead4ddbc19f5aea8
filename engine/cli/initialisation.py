"""`sealmint init`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer

from engine.cli.opening import actor, open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, people
from engine.clock import SystemClock
from engine.config import StoreSection
from engine.errors import InputRejected
from engine.home import Home
from engine.issuance.initialisation import TOKEN_LABEL, TokenChoice, initialise
from engine.issuance.measurement import measure_token


def init(
    home: HomeOption = DEFAULT_HOME,
    module: Annotated[
        Path | None,
        typer.Option(
            help="A PKCS#11 module with an initialised token; else a SoftHSM token is made.",
            dir_okay=False,
        ),
    ] = None,
    token_label: Annotated[str, typer.Option(help="The token's label.")] = TOKEN_LABEL,
    pin_file: Annotated[
        Path | None,
        typer.Option(help="The file with the token's PIN, readable by its owner only.", dir_okay=False),
    ] = None,
    store_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The record in PostgreSQL instead of a file of the home."),
    ] = None,
    store_owner_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The same, as the role that owns the tables.")
    ] = None,
    store_read_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The same, as a role that only reads.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a home: token, keys, store, a development root, the CA under it. Finishes one that was begun."""
    steps: list[str] = []

    def announce(step: str) -> None:
        steps.append(step)
        if not as_json:
            people.print(step)

    choice = TokenChoice(module, token_label, pin_file)
    place = Home(home)
    record = _record(store_url, store_owner_url, store_read_url)
    trio.run(
        partial(initialise, place, SystemClock(), choice, record=record, actor=actor(), announce=announce)
    )
    with open_context(home) as context:
        rate = trio.run(partial(measure_token, context, only_if_never=True))
        document = {
            "home": str(place.path),
            "steps": steps,
            "ca_key_identifier": context.authority.ca.key_identifier.hex(),
            "ca_not_after": context.authority.issuer.not_after.isoformat(),
            "token_signatures_per_second": None if rate is None else round(rate.per_second, 1),
        }
    answer(document, as_json, text=f"home ready: {place.path}")


def _record(url: str | None, owner_url: str | None, read_url: str | None) -> StoreSection | None:
    if url is None:
        if owner_url or read_url:
            raise InputRejected("other roles' URLs need the URL of the record", place="--store-url")
        return None
    told = {"url": url, "owner_url": owner_url, "read_url": read_url}
    return StoreSection.model_validate({name: value for name, value in told.items() if value is not None})
