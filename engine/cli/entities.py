"""`sealmint entity`: acts on all unexpired certificates of an entity (CPS 4.4.2(2), 4.4.6(2), 4.4.9)."""

from __future__ import annotations

import typer

from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption
from engine.cli.status_acts import (
    DocumentOption,
    FileOption,
    IdentifierArgument,
    InvalidityDateOption,
    OnBehalfOfOption,
    OriginOption,
    ReasonOption,
    ResumeGround,
    RevokeGround,
    SuspendGround,
    details_of,
    perform,
)
from engine.status.origins import Scope, Verb

app = typer.Typer(help="Status acts on all of an entity's certificates.", no_args_is_help=True)


@app.command("suspend")
def suspend(
    identifier: IdentifierArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: SuspendGround = "",
    document: DocumentOption = None,
    origin: OriginOption = None,
    on_behalf_of: OnBehalfOfOption = "",
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suspend all unexpired certificates of an entity, in one step."""
    details = details_of(ground, document, origin, on_behalf_of)
    perform(home, Verb.SUSPEND, {Scope.ENTITY: identifier}, file, details, as_json)


@app.command("resume")
def resume(
    identifier: IdentifierArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: ResumeGround = "",
    document: DocumentOption = None,
    origin: OriginOption = None,
    on_behalf_of: OnBehalfOfOption = "",
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift one's own hold from all of an entity's certificates; holds of others stay."""
    details = details_of(ground, document, origin, on_behalf_of)
    perform(home, Verb.RESUME, {Scope.ENTITY: identifier}, file, details, as_json)


@app.command("revoke")
def revoke(
    identifier: IdentifierArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: RevokeGround = "",
    document: DocumentOption = None,
    origin: OriginOption = None,
    on_behalf_of: OnBehalfOfOption = "",
    reason: ReasonOption = None,
    invalidity_date: InvalidityDateOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke all unexpired certificates of an entity, in one step and for good."""
    details = details_of(ground, document, origin, on_behalf_of, reason, invalidity_date)
    perform(home, Verb.REVOKE, {Scope.ENTITY: identifier}, file, details, as_json)
