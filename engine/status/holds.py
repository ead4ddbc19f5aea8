"""The set of holds of a certificate, and what each act does to it (CPS 4.4, choice 10).

A certificate is held while its set is not empty; whoever resumes removes only his own. A revocation ends the set, and
everything. No database here: an act is judged, then done, on a record in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from engine.kinds import Kind
from engine.status.act_request import Act
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Origin, Verb
from engine.store.schema import CertificateState, to_microseconds
from engine.store.standings import NewStanding, Standing
from engine.store.statuses import StoredStatus


@dataclass(slots=True)
class ActDone:
    """An act that takes effect."""

    act: Act
    at: datetime
    act_id: int = 0
    """Its row; 0 until it has one."""


@dataclass(slots=True)
class Hold:
    """A hold that stands, or that this transaction lifted."""

    origin: Origin
    on_behalf_of: str
    placed_at: datetime
    row: int | None
    """None: this transaction placed it."""
    placed_by: ActDone | None = None
    """None: an earlier transaction's act."""
    lifted_by: ActDone | None = None

    @property
    def owner(self) -> tuple[Origin, str]:
        """Whose it is: he has one at most, and nobody else lifts it."""
        return self.origin, self.on_behalf_of


@dataclass(slots=True)
class CertificateRecord:
    """An issued certificate as acts see it, and change it."""

    before: Standing
    kind: Kind
    is_revoked: bool
    is_accepted: bool
    was_unaccepted: bool
    """Whether the 18-month rule ever suspended it."""
    holds: list[Hold] = field(default_factory=list)
    revoked_by: ActDone | None = None
    accepted_by: ActDone | None = None

    @classmethod
    def of(cls, stored: StoredStatus) -> CertificateRecord:
        """Take a certificate as the store has it."""
        return cls(
            stored.standing,
            Kind(stored.kind),
            stored.standing.state == CertificateState.REVOKED,
            stored.accepted_at is not None,
            any(hold.origin == Origin.NON_ACCEPTANCE.value for hold in stored.holds),
            [
                Hold(Origin(hold.origin), hold.on_behalf_of, hold.placed_at, hold.id)
                for hold in stored.holds
                if hold.lifted_at is None
            ],
        )

    @property
    def standing_holds(self) -> list[Hold]:
        """The set."""
        return [hold for hold in self.holds if hold.lifted_by is None]


class Refusal(NamedTuple):
    """Why an act cannot be done to a certificate."""

    message: str
    rule: str


def refusal(act: Act, record: CertificateRecord, now: datetime) -> Refusal | None:
    """Say why an act cannot be done to a certificate; None when it can."""
    if record.is_revoked:
        return Refusal("revoked already, and that is final", "CPS 4.4.3; RFC 5280 section 5.3.1")
    if record.before.not_after < to_microseconds(now):
        return Refusal("expired", "CPS 4.4.3, 4.4.8: acts touch unexpired certificates")
    if act.ground.kinds is not None and record.kind not in act.ground.kinds:
        kinds = ", ".join(sorted(kind.value for kind in act.ground.kinds))
        return Refusal(f"a certificate of kind {record.kind.value}", f"CPS {act.ground.clause}: {kinds}")
    return _OF_VERB[act.verb](act, record) if act.verb in _OF_VERB else None


def _no_suspension(act: Act, record: CertificateRecord) -> Refusal | None:
    if (act.origin, act.on_behalf_of) in {hold.owner for hold in record.standing_holds}:
        return Refusal("held on this behalf already", "choice 10: one hold for each origin and body")
    if act.origin is Origin.NON_ACCEPTANCE and record.is_accepted:
        return Refusal("accepted", f"CPS {act.ground.clause}")
    if act.origin is Origin.NON_ACCEPTANCE and record.was_unaccepted:
        return Refusal("suspended for want of acceptance once before", "CPS 4.4.9; decision 0021")
    return None


def _no_resumption(act: Act, record: CertificateRecord) -> Refusal | None:
    owners = [hold.owner for hold in record.standing_holds]
    if (act.origin, act.on_behalf_of) in owners:
        return None
    others = ", ".join(" of ".join(filter(None, (origin.value, body))) for origin, body in owners)
    return Refusal(
        f"not held on this behalf (holds: {others or 'none'})",
        "CPS 4.4.9, choice 10: whoever resumes lifts only his own hold",
    )


def _no_acceptance(act: Act, record: CertificateRecord) -> Refusal | None:
    if record.is_accepted:
        return Refusal("accepted already", f"CPS {act.ground.clause}")
    if any(hold.origin is Origin.NON_ACCEPTANCE for hold in record.standing_holds):
        return Refusal(
            "suspended because it was not accepted in time",
            "CPS 4.4.9: it is resumed first, on a written application",
        )
    return None


_OF_VERB = {Verb.SUSPEND: _no_suspension, Verb.RESUME: _no_resumption, Verb.ACCEPT: _no_acceptance}


def apply(done: ActDone, record: CertificateRecord) -> None:
    """Do an act to a certificate that `refusal` found nothing against."""
    act = done.act
    owner = (act.origin, act.on_behalf_of)
    if act.verb is Verb.ACCEPT:
        record.is_accepted, record.accepted_by = True, done
    elif act.verb is Verb.SUSPEND:
        record.holds.append(Hold(*owner, done.at, None, placed_by=done))
        record.was_unaccepted |= act.origin is Origin.NON_ACCEPTANCE
    else:
        for hold in record.standing_holds:
            if act.verb is Verb.REVOKE or hold.owner == owner:
                hold.lifted_by = done
    if act.verb is Verb.REVOKE:
        record.is_revoked, record.revoked_by = True, done


def standing_now(record: CertificateRecord) -> NewStanding:
    """Return what a certificate is worth after the acts that were applied to it."""
    before = record.before
    if record.revoked_by is not None:
        act = record.revoked_by.act
        return NewStanding(
            before,
            CertificateState.REVOKED,
            to_microseconds(record.revoked_by.at),
            int(act.reason or CrlReason.unspecified),
            None if act.invalidity_at is None else to_microseconds(act.invalidity_at),
        )
    if record.is_revoked:
        return NewStanding(before, CertificateState.REVOKED, before.since, before.reason)
    if record.standing_holds:
        since = min(to_microseconds(hold.placed_at) for hold in record.standing_holds)
        return NewStanding(before, CertificateState.HELD, since, int(CrlReason.certificateHold))
    return NewStanding(before, CertificateState.GOOD, None, None)


def is_changed(new: NewStanding) -> bool:
    """Say whether a relying party would see a difference."""
    before = new.before
    return (new.state, new.since, new.reason) != (before.state, before.since, before.reason)
