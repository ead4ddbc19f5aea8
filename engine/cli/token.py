"""`sealmint token`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import trio
import typer

from engine.authority.role_certificates import prove_key
from engine.authority.signing import open_token, read_pin
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer
from engine.issuance.measurement import measure_token

app = typer.Typer(help="The PKCS#11 token.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The PKCS#11 token."""


@app.command("check")
def check(
    home: HomeOption = DEFAULT_HOME,
    sessions: Annotated[int | None, typer.Option(min=1, max=256, help="Sessions to measure with.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Log in, prove that every key is the one its certificate names, and measure signatures a second.

    The measurement signs announced messages with the operations key, never with the CA's.
    """
    with open_context(home) as context:
        token = open_token(context.home, context.configuration)
        pin = read_pin(context.configuration)
        authority = context.authority
        roles = (authority.ca, authority.ocsp, authority.audit, authority.operations)
        for role in roles:
            prove_key(token, pin, role)
        limits = token.limits()
        rate = trio.run(partial(measure_token, context, sessions=sessions))
    answer(
        {
            "token": token.label,
            "serial": token.serial,
            "model": token.model,
            "sessions_at_most": limits.max_sessions,
            "keys_proven": [role.role for role in roles],
            "signatures_per_second": None if rate is None else round(rate.per_second, 1),
            "measured_over_sessions": None if rate is None else rate.sessions,
        },
        as_json,
    )
