"""Acts on the status of certificates: accept, suspend, resume, revoke (CPS 4.3, 4.4).

The one way in for the command line, for files of acts, for the 18-month rule and for registration. An act takes effect
with its audit record in one transaction, or not at all; one that is refused leaves only the record of its refusal
(CPS 4.5.1, groups 8 and 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection

from engine.audit.events import Event
from engine.audit.log import append_record, newest_record_time
from engine.clock import Clock
from engine.errors import InputRejected, StatusConflict
from engine.fault_points import fault_point
from engine.status.act_request import TEXT_LIMIT, Act, ActRequest, act_of
from engine.status.act_transaction import ActTransaction, Effect
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Verb
from engine.store.database import Store
from engine.store.schema import EPOCH, CertificateState
from engine.store.standings import NewStanding

_EVENTS = {
    Verb.ACCEPT: Event.CERTIFICATES_ACCEPTED,
    Verb.SUSPEND: Event.CERTIFICATES_SUSPENDED,
    Verb.RESUME: Event.CERTIFICATES_RESUMED,
    Verb.REVOKE: Event.CERTIFICATES_REVOKED,
}


class TouchedCertificate(NamedTuple):
    """What a certificate is worth after the act."""

    serial: bytes
    state: CertificateState
    since: datetime | None
    """When it was revoked or became held; None while good."""
    reason: CrlReason | None


@dataclass(frozen=True, slots=True)
class ActResult:
    """An act that took effect.

    Attributes:
        act_id: its number in the store.
        act: what was done.
        performed_at: when.
        certificates: what it touched; an entity's or a card's others were refused to it, and skipped.
        sequence: the last of the change feed once the transaction of the act was committed.
    """

    act_id: int
    act: Act
    performed_at: datetime
    certificates: tuple[TouchedCertificate, ...]
    sequence: int


ActOutcome: TypeAlias = ActResult | InputRejected | StatusConflict
"""An act that took effect, or why it was refused."""


class StatusActs:
    """Does acts on the status of certificates.

    Args:
        store: the record.
        clock: tells the time of the acts.
        actor: who does them, for the record.
    """

    def __init__(self, store: Store, clock: Clock, actor: str) -> None:
        self._store = store
        self._clock = clock
        self._actor = actor

    def perform(self, request: ActRequest) -> ActResult:
        """Do one act. When this returns, the change is durable and in the change feed.

        Raises:
            InputRejected: the request breaks a rule that can be told without looking at a certificate.
            StatusConflict: no certificate that it names allows it, or there is none.
            StoreError, AuditFailed, ClockWrong: nothing happened.
        """
        (outcome,) = self.perform_together([request])
        if isinstance(outcome, ActResult):
            return outcome
        raise outcome

    def perform_together(self, requests: Sequence[ActRequest | Act]) -> list[ActOutcome]:
        """Do acts in one transaction, in their order; one that is refused does not hinder the others.

        Args:
            requests: at most some hundreds, for the transaction keeps other writers waiting.

        Returns:
            The outcome of each, in their order.

        Raises:
            StoreError, AuditFailed, ClockWrong: none of them happened.
        """
        with self._store.write() as connection:
            now = self._now(connection)
            acts = [_checked(request, now) for request in requests]
            work = ActTransaction(connection, [act for act in acts if isinstance(act, Act)], now)
            effects = [_effect(work, act) for act in acts]
            sequence = work.write(self._actor)
            self._record_effects(connection, [effect for effect in effects if isinstance(effect, Effect)])
            self._record_refusals(connection, requests, effects)
            fault_point("act.before-commit")
        fault_point("act.committed")
        return [_result(effect, sequence) if isinstance(effect, Effect) else effect for effect in effects]

    def _now(self, connection: Connection) -> datetime:
        # Not before the newest record: clocks of several hosts differ a little, and a hold is not lifted before it
        # was placed. A clock that is far behind is refused when the record of the act is written.
        now = self._clock.now()
        return max(now, newest_record_time(connection) or now)

    def _record_effects(self, connection: Connection, effects: Sequence[Effect]) -> None:
        for verb, event in _EVENTS.items():
            bodies = [_effect_body(effect) for effect in effects if effect.done.act.verb is verb]
            if bodies:
                append_record(connection, self._clock, event, actor=self._actor, body={"acts": bodies})

    def _record_refusals(
        self,
        connection: Connection,
        requests: Sequence[ActRequest | Act],
        effects: Sequence[Effect | InputRejected | StatusConflict],
    ) -> None:
        bodies = [
            _refusal_body(request, refused)
            for request, refused in zip(requests, effects, strict=True)
            if not isinstance(refused, Effect)
        ]
        if bodies:
            append_record(
                connection, self._clock, Event.STATUS_ACT_REFUSED, actor=self._actor, body={"acts": bodies}
            )


def _checked(request: ActRequest | Act, now: datetime) -> Act | InputRejected:
    if isinstance(request, Act):
        return request
    try:
        return act_of(request, now)
    except InputRejected as refused:
        return refused


def _effect(work: ActTransaction, act: Act | InputRejected) -> Effect | InputRejected | StatusConflict:
    if isinstance(act, InputRejected):
        return act
    try:
        return work.do(act)
    except StatusConflict as refused:
        return refused


def _result(effect: Effect, sequence: int) -> ActResult:
    done = effect.done
    return ActResult(done.act_id, done.act, done.at, tuple(map(_touched, effect.standings)), sequence)


def _touched(new: NewStanding) -> TouchedCertificate:
    since = None if new.since is None else EPOCH + timedelta(microseconds=new.since)
    reason = None if new.reason is None else CrlReason(new.reason)
    return TouchedCertificate(new.before.serial, new.state, since, reason)


def _effect_body(effect: Effect) -> Mapping[str, object]:
    act = effect.done.act
    return _without_empty(
        {
            "act": effect.done.act_id,
            "scope": act.scope.value,
            "subject": act.subject,
            "origin": act.origin.value,
            "on_behalf_of": act.on_behalf_of,
            "ground": act.ground.name,
            "clause": act.ground.clause,
            "document": act.document,
            "reason": None if act.reason is None else act.reason.name,
            "invalidity_date": None if act.invalidity_at is None else act.invalidity_at.isoformat(),
            "certificates": [new.before.serial.hex().upper() for new in effect.standings],
        }
    )


def _refusal_body(request: ActRequest | Act, refused: InputRejected | StatusConflict) -> Mapping[str, object]:
    ground = request.ground if isinstance(request.ground, str) else request.ground.name
    return _without_empty(
        {
            "verb": request.verb.value,
            "scope": request.scope.value,
            "subject": _shown(request.subject),
            "origin": None if request.origin is None else request.origin.value,
            "on_behalf_of": _shown(request.on_behalf_of),
            "ground": _shown(ground),
            "document": _shown(request.document or ""),
            "refused": refused.message,
            "rule": refused.rule,
        }
    )


def _shown(text: str) -> str:
    """A text that was refused perhaps for what it is: short, and without what is no character."""
    return text[:TEXT_LIMIT].encode(errors="replace").decode()


def _without_empty(body: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in body.items() if value not in (None, "")}
