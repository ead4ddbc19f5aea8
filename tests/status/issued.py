"""A store with a few entities whose certificates are issued, and a hand that does acts on them.

card  rank       entity             統一編號  certificates
P     primary    a company          00001001  signature, encryption
S     secondary  the same company   00001001  signature, encryption
B     primary    a branch           00001001  signature, encryption
U     none       a set-up name      00001003  signature
X     primary    another company    00001004  signature, encryption; they expire after ten days
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from engine.clock import SetClock
from engine.status.act_request import Act, ActRequest
from engine.status.acts import ActResult, StatusActs
from engine.status.grounds import NOT_ACCEPTED, find_ground
from engine.status.history import CertificateStatus, status_of_items
from engine.status.origins import Origin, Scope, Verb
from engine.store.database import Store
from engine.store.plans import PlannedCard
from engine.store.schema import audit_record, card, item, reservation, status_act
from engine.store.status_changes import changes_after, last_change
from tests.store.plans import NOW, append_plan, count, entity, issue_run, make_run
from tests.store.plans import card as planned_card

COMPANY, SET_UP, EXPIRING = "00001001", "00001003", "00001004"
CARDS = {"P": 2, "S": 2, "B": 2, "U": 1, "X": 1}
"""Card number and how many certificates it has."""

EXPIRES_AFTER = timedelta(days=10)
"""The certificate of card X."""


class Issued:
    """The store, its clock (an hour after issuance), and what can be done."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = SetClock(NOW + timedelta(hours=1))
        self.acts = StatusActs(store, self.clock, "account tester")

    def do(
        self, verb: Verb, subject: str, ground: str, *, scope: Scope | None = None, **details: Any
    ) -> ActResult:
        """Do an act; the scope is told by the subject: a card by its name, an entity by eight digits."""
        scope = scope or scope_of(subject)
        return self.acts.perform(ActRequest(verb, scope, subject, ground, **details))

    def find_unaccepted(self, serial: str) -> None:
        """Suspend as the 18-month rule does."""
        act = Act(
            Verb.SUSPEND,
            Scope.CERTIFICATE,
            serial,
            find_ground(Verb.SUSPEND, NOT_ACCEPTED),
            Origin.NON_ACCEPTANCE,
        )
        (outcome,) = self.acts.perform_together([act])
        if not isinstance(outcome, ActResult):
            raise outcome

    def serials(self, number: str) -> list[str]:
        """The serials of a card's certificates, in the order of their items."""
        with self.store.read() as connection:
            rows = connection.execute(
                select(reservation.c.serial)
                .join(item, item.c.id == reservation.c.item_id)
                .join(card, card.c.id == item.c.card_id)
                .where(card.c.number == number)
                .order_by(item.c.id)
            )
            return [serial.hex().upper() for serial in rows.scalars()]

    def status(self, number: str) -> list[CertificateStatus]:
        """Where a card's certificates stand."""
        with self.store.read() as connection:
            items = connection.execute(
                select(item.c.id).join(card, card.c.id == item.c.card_id).where(card.c.number == number)
            )
            return list(status_of_items(connection, list(items.scalars())).values())

    def states(self, number: str) -> list[str]:
        """The states of a card's certificates."""
        return [status.state.name for status in self.status(number)]

    @property
    def sequence(self) -> int:
        """The last number of the change feed."""
        with self.store.read() as connection:
            return last_change(connection)

    def feed_kinds(self) -> list[int]:
        """The kinds of all entries of the change feed, oldest first."""
        with self.store.read() as connection:
            return [entry.kind for entry in changes_after(connection, 0, 1_000)]

    @property
    def acts_stored(self) -> int:
        """How many acts took effect."""
        return count(self.store, status_act)

    def events(self) -> list[tuple[str, str]]:
        """Every audit record: event and body."""
        with self.store.read() as connection:
            rows = connection.execute(
                select(audit_record.c.event, audit_record.c.body).order_by(audit_record.c.sequence)
            )
            return [(row.event, row.body) for row in rows]


def scope_of(subject: str) -> Scope:
    if len(subject) == 8 and subject.isdecimal():
        return Scope.ENTITY
    return Scope.CARD if subject in CARDS else Scope.CERTIFICATE


def with_one_key(planned: PlannedCard) -> PlannedCard:
    return planned._replace(keys=planned.keys[:1])


def issue(store: Store) -> None:
    """Issue the certificates of the table above."""
    company = entity(1001)
    branch = entity(1002)._replace(kind="branch", identifier=COMPANY)
    set_up = entity(1003)._replace(kind="setup")
    cards = [
        planned_card(company, "P"),
        planned_card(company._replace(is_new=False), "S", rank="secondary"),
        planned_card(branch, "B"),
        with_one_key(planned_card(set_up, "U", rank="none")),
    ]
    with store.write() as connection:
        lasting = make_run(connection)
        append_plan(connection, lasting, cards)
        expiring = make_run(connection)
        append_plan(connection, expiring, [with_one_key(planned_card(entity(1004), "X"))])
    issue_run(store, lasting)
    issue_run(store, expiring, not_after=NOW + EXPIRES_AFTER)
