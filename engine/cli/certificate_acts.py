"""`sealmint cert`, its acts on status: by serial, by card, or from a file (CPS 4.3, 4.4)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import trio
import typer

from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, people, table, write_json
from engine.cli.status_acts import (
    AcceptGround,
    CardOption,
    DocumentOption,
    FileOption,
    InvalidityDateOption,
    OnBehalfOfOption,
    OriginOption,
    ReasonOption,
    ResumeGround,
    RevokeGround,
    SerialArgument,
    SuspendGround,
    certificates_table,
    details_of,
    moment,
    perform,
    status_document,
)
from engine.status.grounds import ACCEPTED
from engine.status.history import CertificateStatus, history_of
from engine.status.non_acceptance import suspend_unaccepted
from engine.status.origins import Scope, Verb
from engine.store.status_changes import last_change
from engine.store.status_history import StoredAct


def accept(
    serial: SerialArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: AcceptGround = ACCEPTED,
    document: DocumentOption = None,
    card: CardOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record that the subscriber has accepted a certificate, or a card's certificates: once."""
    details = details_of(ground, document, None, "")
    perform(home, Verb.ACCEPT, {Scope.CERTIFICATE: serial, Scope.CARD: card}, file, details, as_json)


def suspend(
    serial: SerialArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: SuspendGround = "",
    document: DocumentOption = None,
    origin: OriginOption = None,
    on_behalf_of: OnBehalfOfOption = "",
    card: CardOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place a hold: the certificate is suspended until every hold on it is lifted."""
    details = details_of(ground, document, origin, on_behalf_of)
    perform(home, Verb.SUSPEND, {Scope.CERTIFICATE: serial, Scope.CARD: card}, file, details, as_json)


def resume(
    serial: SerialArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: ResumeGround = "",
    document: DocumentOption = None,
    origin: OriginOption = None,
    on_behalf_of: OnBehalfOfOption = "",
    card: CardOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift one's own hold; while others stand, the certificate stays suspended."""
    details = details_of(ground, document, origin, on_behalf_of)
    perform(home, Verb.RESUME, {Scope.CERTIFICATE: serial, Scope.CARD: card}, file, details, as_json)


def revoke(
    serial: SerialArgument = None,
    home: HomeOption = DEFAULT_HOME,
    ground: RevokeGround = "",
    document: DocumentOption = None,
    origin: OriginOption = None,
    on_behalf_of: OnBehalfOfOption = "",
    reason: ReasonOption = None,
    invalidity_date: InvalidityDateOption = None,
    card: CardOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a certificate, or a card's certificates, for good."""
    details = details_of(ground, document, origin, on_behalf_of, reason, invalidity_date)
    perform(home, Verb.REVOKE, {Scope.CERTIFICATE: serial, Scope.CARD: card}, file, details, as_json)


def suspend_overdue(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Suspend what was not accepted within 18 months (CPS 4.4.5); to be called every day."""
    with open_context(home) as context:
        act = partial(suspend_unaccepted, context.store, context.clock, context.actor)
        touched = trio.run(act)
        with context.store.read() as connection:
            sequence = last_change(connection)
    answer({"touched": touched, "sequence": sequence}, as_json)


def history(
    subject: Annotated[
        str, typer.Argument(metavar="SERIAL|CARD", help="A serial in hexadecimal, or a card number.")
    ],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show where a certificate, or a card's, stand, and every act that touched them."""
    with open_context(home, only_reading=True) as context, context.store.read() as connection:
        found = history_of(connection, subject)
    certificates = [standing_document(certificate) for certificate in found.certificates]
    serials = {certificate.item_id: certificate.serial.hex().upper() for certificate in found.certificates}
    acts = [_act_document(act, serials) for act in found.acts]
    if as_json:
        write_json({"certificates": certificates, "acts": acts})
        return
    certificates_table(certificates)
    names = ("at", "verb", "origin", "on_behalf_of", "ground", "document", "actor", "scope", "certificates")
    people.print(table("acts", names, [[act[name] for name in names] for act in acts]))


def standing_document(certificate: CertificateStatus) -> dict[str, object]:
    """Return where a certificate stands as commands show it, with the holds that stand."""
    holds = [
        {
            "origin": hold.origin.value,
            "on_behalf_of": hold.on_behalf_of or None,
            "since": moment(hold.placed_at),
        }
        for hold in certificate.holds
    ]
    return {
        **status_document(certificate),
        "holds": holds,
        "accepted": moment(certificate.accepted_at),
    }


def _act_document(act: StoredAct, serials: dict[int, str]) -> dict[str, object]:
    return {
        "act": str(act.act_id),
        "at": moment(act.performed_at),
        "verb": act.verb,
        "origin": act.origin,
        "on_behalf_of": act.on_behalf_of or None,
        "scope": act.scope,
        "subject": act.subject,
        "ground": act.ground,
        "document": act.document,
        "actor": act.actor,
        "certificates": [serials[item_id] for item_id in act.items],
    }
