"""What the status commands of `sealmint cert` and `sealmint entity` share: options, doing, answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.opening import open_context
from engine.cli.output import EXIT_INCOMPLETE, people, table, write_json
from engine.clock import TAIPEI
from engine.errors import InputRejected
from engine.status.act_file import COLUMNS, FileReport, perform_file, request_of
from engine.status.acts import ActResult, StatusActs, TouchedCertificate
from engine.status.crl_reasons import REVOKING
from engine.status.grounds import ground_names
from engine.status.history import CertificateStatus
from engine.status.origins import Origin, Scope, Verb
from engine.store.status_changes import last_change

SerialArgument = Annotated[
    str | None, typer.Argument(metavar="SERIAL", help="The certificate's serial in hexadecimal.")
]
IdentifierArgument = Annotated[
    str | None,
    typer.Argument(metavar="統一編號", help="Touches all unexpired certificates of whoever has this number."),
]
CardOption = Annotated[
    str | None, typer.Option("--card", help="A card's number, instead of a serial: all its certificates.")
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        dir_okay=False,
        help=f"A file of subjects, instead of one: CSV with a header, or JSON lines. Fields: {', '.join(COLUMNS)}. "
        "Each row has one of the first three; what the row does not say, the options say.",
    ),
]
DocumentOption = Annotated[
    str | None,
    typer.Option(help="The paper it is done on. Needed on behalf of an authority or a judicial body."),
]
OriginOption = Annotated[
    Origin | None, typer.Option(help="On whose behalf, where the ground leaves a choice.")
]
OnBehalfOfOption = Annotated[
    str, typer.Option(help="Which authority or body. Only the same one can lift its hold.")
]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        help="The CRLReason, if not the ground's own: " + ", ".join(reason.name for reason in REVOKING) + "."
    ),
]
InvalidityDateOption = Annotated[
    str | None,
    typer.Option(help="Since when it is believed bad: ISO 8601; Taipei time without an offset."),
]

AcceptGround = Annotated[str, typer.Option("--ground", help=f"{ground_names(Verb.ACCEPT)} (CPS 4.3).")]
SuspendGround = Annotated[
    str, typer.Option("--ground", help=f"One of: {ground_names(Verb.SUSPEND)} (CPS 4.4.5).")
]
ResumeGround = Annotated[
    str, typer.Option("--ground", help=f"One of: {ground_names(Verb.RESUME)} (CPS 4.4.9).")
]
RevokeGround = Annotated[
    str, typer.Option("--ground", help=f"One of: {ground_names(Verb.REVOKE)} (CPS 4.4.1).")
]

_WORDS = {Scope.CERTIFICATE: "SERIAL", Scope.CARD: "--card", Scope.ENTITY: "統一編號"}


def details_of(
    ground: str,
    document: str | None,
    origin: Origin | None,
    on_behalf_of: str,
    reason: str | None = None,
    invalidity_date: str | None = None,
) -> dict[str, str | None]:
    """Return what the options say, by the names that files of acts have for it."""
    return {
        "ground": ground,
        "document": document,
        "origin": None if origin is None else origin.value,
        "on_behalf_of": on_behalf_of,
        "reason": reason,
        "invalidity_date": invalidity_date,
    }


def perform(
    home: Path,
    verb: Verb,
    subjects: Mapping[Scope, str | None],
    file: Path | None,
    details: Mapping[str, str | None],
    as_json: bool,
) -> None:
    """Do one act, or a file of them, and answer.

    Args:
        home: the home.
        verb: what is done.
        subjects: what the command line names, by its scope.
        file: the file of acts, if there is one.
        details: from `details_of`.
        as_json: answer with one JSON document.

    Raises:
        InputRejected: not exactly one subject or file is named, or the act breaks a rule.
        StatusConflict: the status does not allow the act.
        typer.Exit: with 20 when a row of the file failed.
    """
    named = [(scope, subject) for scope, subject in subjects.items() if subject is not None]
    if len(named) + (file is not None) != 1:
        raise InputRejected(
            "what the act touches is not said, or said twice",
            place="subject",
            rule=" or ".join([*(_WORDS[scope] for scope in subjects), "--file"]),
        )
    with open_context(home) as context:
        acts = StatusActs(context.store, context.clock, context.actor)
        if file is None:
            (scope, subject), *_ = named
            _answer_act(acts.perform(request_of(verb, scope, subject, details)), as_json)
            return
        report = perform_file(acts, file, verb, details)
        with context.store.read() as connection:
            sequence = last_change(connection)
    _answer_file(verb, report, sequence, as_json)
    if report.failures:
        raise typer.Exit(EXIT_INCOMPLETE)


def status_document(certificate: TouchedCertificate | CertificateStatus) -> dict[str, object]:
    """Return serial, state, since and reason as commands show them."""
    return {
        "serial": certificate.serial.hex().upper(),
        "state": certificate.state.name.lower(),
        "since": moment(certificate.since),
        "reason": None if certificate.reason is None else certificate.reason.name,
    }


def moment(time: datetime | None) -> str | None:
    """Return a time as commands show it: Taipei, to the second."""
    return None if time is None else time.astimezone(TAIPEI).isoformat(timespec="seconds")


def certificates_table(certificates: Sequence[Mapping[str, object]]) -> None:
    """Print where certificates stand."""
    names = ("serial", "state", "since", "reason")
    people.print(table(None, names, [[one[name] for name in names] for one in certificates]))


def _answer_act(result: ActResult, as_json: bool) -> None:
    certificates = [status_document(touched) for touched in result.certificates]
    if as_json:
        write_json(
            {
                "act": str(result.act_id),
                "verb": result.act.verb.value,
                "origin": result.act.origin.value,
                "ground": result.act.ground.name,
                "touched": len(certificates),
                "certificates": certificates,
                "sequence": result.sequence,
            }
        )
        return
    certificates_table(certificates)
    people.print(f"act {result.act_id}: {result.act.verb.value}, {len(certificates)} touched")


def _answer_file(verb: Verb, report: FileReport, sequence: int, as_json: bool) -> None:
    certificates = [status_document(touched) for done in report.performed for touched in done.certificates]
    failures = [failure._asdict() for failure in report.failures]
    if as_json:
        write_json(
            {
                "verb": verb.value,
                "acts": len(report.performed),
                "failed": len(failures),
                "touched": len(certificates),
                "failures": failures,
                "certificates": certificates,
                "sequence": sequence,
            }
        )
        return
    if failures:
        people.print(table("not done", tuple(failures[0]), [list(failure.values()) for failure in failures]))
    people.print(
        f"{verb.value}: {len(report.performed):,} acts done, {len(certificates):,} certificates touched, "
        f"{len(failures):,} rows failed"
    )
