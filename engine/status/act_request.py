"""What is asked for, and its check: an act with a ground that fits whoever asks and what he names."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from engine.errors import InputRejected
from engine.status.crl_reasons import REVOKING, CrlReason
from engine.status.grounds import NOT_ACCEPTED, Ground, find_ground
from engine.status.origins import NAMES_ITS_BODY, SCOPES, Origin, Scope, Verb
from engine.store.schema import EPOCH
from engine.x509.serial_numbers import SERIAL_OCTETS

TEXT_LIMIT = 200
"""Longest subject, document or body, in characters. A guess: an official document's number has some thirty."""


@dataclass(frozen=True, slots=True)
class ActRequest:
    """An act as it is asked for.

    Attributes:
        verb: what is to be done.
        scope: what the subject names.
        subject: a serial in hexadecimal, a card number, or a 統一編號.
        ground: the name of a ground (engine/status/grounds.py).
        origin: on whose behalf; None for the one that the ground means.
        on_behalf_of: which authority or body. For an authority, empty is the one that registered the entity.
        document: the number of the paper it is done on.
        reason: of a revocation, instead of the ground's own.
        invalidity_at: since when a revoked certificate is believed bad: invalidityDate (RFC 5280 section 5.3.2).
    """

    verb: Verb
    scope: Scope
    subject: str
    ground: str
    origin: Origin | None = None
    on_behalf_of: str = ""
    document: str | None = None
    reason: CrlReason | None = None
    invalidity_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """An act that keeps every rule that can be told without looking at a certificate; fields as in `ActRequest`."""

    verb: Verb
    scope: Scope
    subject: str
    ground: Ground
    origin: Origin
    on_behalf_of: str = ""
    document: str | None = None
    reason: CrlReason | None = None
    """Of a revocation; None for the other acts."""
    invalidity_at: datetime | None = None


def act_of(request: ActRequest, now: datetime) -> Act:
    """Check a request and bring its texts into the one form they are compared and stored in.

    Args:
        request: the request.
        now: nothing can have been invalid since later.

    Raises:
        InputRejected: it breaks a rule; the place is the field's name.
    """
    ground = find_ground(request.verb, request.ground)
    origin = request.origin or ground.origins[0]
    _check_who(request, ground, origin)
    document = one_line("document", request.document) or None
    if document is None and origin in NAMES_ITS_BODY:
        raise InputRejected(
            f"an act on behalf of origin {origin.value} names its document",
            place="document",
            rule=f"CPS {ground.clause}: on the body's notice, or as the register systems triggered it",
        )
    return Act(
        request.verb,
        request.scope,
        _subject(request.scope, request.subject),
        ground,
        origin,
        _body(origin, request.on_behalf_of),
        document,
        _reason(request, ground),
        _invalidity(request, now),
    )


def _check_who(request: ActRequest, ground: Ground, origin: Origin) -> None:
    if origin not in ground.origins:
        raise InputRejected(
            f"{ground.name} is no ground for origin {origin.value}",
            place="origin",
            value=origin.value,
            rule=f"CPS {ground.clause}: {', '.join(who.value for who in ground.origins)}",
        )
    if ground.name == NOT_ACCEPTED:
        raise InputRejected(
            "the 18-month rule places this hold itself",
            place="ground",
            value=ground.name,
            rule=f"CPS {ground.clause}: sealmint cert suspend-unaccepted",
        )
    scopes, rule = SCOPES[origin]
    if request.scope not in scopes:
        raise InputRejected(
            f"origin {origin.value} does not act on a single {request.scope.value}"
            if Scope.ENTITY in scopes
            else f"origin {origin.value} does not act on a whole {request.scope.value}",
            place="subject",
            value=request.scope.value,
            rule=rule,
        )


def _subject(scope: Scope, subject: str) -> str:
    text = one_line("subject", subject)
    if not text:
        raise InputRejected("an act names its subject", place="subject", rule="serial, card or 統一編號")
    return _serial(text) if scope is Scope.CERTIFICATE else text


def _serial(text: str) -> str:
    try:
        octets = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != SERIAL_OCTETS:
        raise InputRejected(
            "not a serial number",
            place="subject",
            value=text,
            rule=f"{2 * SERIAL_OCTETS} hexadecimal digits",
        )
    return octets.hex().upper()


def _body(origin: Origin, on_behalf_of: str) -> str:
    body = one_line("on_behalf_of", on_behalf_of)
    if body and origin not in NAMES_ITS_BODY:
        raise InputRejected(
            f"origin {origin.value} is no body among others",
            place="on_behalf_of",
            value=body,
            rule="choice 10: an authority, or a judicial, control or law-enforcement body, is named",
        )
    if not body and origin is Origin.JUDICIAL:
        raise InputRejected(
            "which body asks is not said",
            place="on_behalf_of",
            rule="choice 10: only the body itself lifts its hold",
        )
    return body


def one_line(field: str, value: str | None) -> str:
    """Return a text in the form in which it is compared and stored: NFC, without space around it.

    Raises:
        InputRejected: it is too long, or not one line of characters; the place is the field.
    """
    text = unicodedata.normalize("NFC", value or "").strip()
    if len(text) > TEXT_LIMIT or any(unicodedata.category(letter).startswith("C") for letter in text):
        raise InputRejected(
            "not a text of one line",
            place=field,
            value=text[:TEXT_LIMIT],
            rule=f"at most {TEXT_LIMIT} characters, none of them a control or unassigned one",
        )
    return text


def _reason(request: ActRequest, ground: Ground) -> CrlReason | None:
    if request.reason is None:
        return ground.reason
    if request.verb is not Verb.REVOKE or request.reason not in REVOKING:
        raise InputRejected(
            "this act has no such reason",
            place="reason",
            value=request.reason.name,
            rule="RFC 5280 section 5.3.1: a revocation has one of "
            + ", ".join(reason.name for reason in REVOKING),
        )
    return request.reason


def _invalidity(request: ActRequest, now: datetime) -> datetime | None:
    moment = request.invalidity_at
    if moment is not None and (request.verb is not Verb.REVOKE or not EPOCH <= moment <= now):
        raise InputRejected(
            "this act has no such invalidity date",
            place="invalidity_date",
            value=moment.isoformat(),
            rule="RFC 5280 section 5.3.2: of a revocation, and not after it; not before 1970",
        )
    return moment
