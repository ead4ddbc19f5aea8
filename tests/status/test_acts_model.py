"""Acts in any order against a model of the set of holds, written without looking at the code.

The model keeps, for each certificate, who holds it since when, and a log of what a relying party would have seen. After
each step the state, the CRL entry, the revision of the card and the feed must be what the model says.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from engine.errors import StatusConflict
from engine.status.act_request import ActRequest
from engine.status.origins import Origin, Scope, Verb
from engine.store.database import open_store
from engine.store.status_changes import ChangeKind
from tests.status.issued import EXPIRES_AFTER, Issued
from tests.store.plans import NOT_AFTER, NOW
from tests.store_fixture import store_url

CERTIFICATES = {"P": 2, "S": 2, "B": 2, "U": 1, "X": 1}
ENTITIES = {"00001001": "PSB", "00001003": "U", "00001004": "X"}
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

OWNERS = {
    "subscriber": ("token-lost", "subscriber-request", Origin.SUBSCRIBER, ""),
    "counter": ("own-judgement", "counter-application", Origin.COUNTER, ""),
    "registry": ("business-suspended", "cause-gone", Origin.AUTHORITY, ""),
    "ministry": ("authority-notice", "cause-gone", Origin.AUTHORITY, "ministry"),
    "court": ("judicial-notice", "judicial-release", Origin.JUDICIAL, "court"),
    "police": ("judicial-notice", "judicial-release", Origin.JUDICIAL, "police"),
}
"""Who holds: the ground to suspend, the ground to resume, origin and body."""

Key = tuple[str, int]
"""A card and the place of a certificate on it."""


@dataclass
class Model:
    """What one certificate is worth, in the plainest words."""

    expires: datetime
    holders: dict[str, datetime] = field(default_factory=dict)
    revoked: tuple[datetime, int] | None = None
    accepted: bool = False

    def seen(self) -> tuple[str, datetime | None, int | None]:
        if self.revoked:
            return ("revoked", *self.revoked)
        if self.holders:
            return ("held", min(self.holders.values()), 6)
        return ("good", None, None)


subjects = st.sampled_from(
    [
        (Scope.CERTIFICATE, ("P", 0)),
        (Scope.CERTIFICATE, ("X", 0)),
        (Scope.CARD, "P"),
        (Scope.CARD, "S"),
        (Scope.ENTITY, "00001001"),
        (Scope.ENTITY, "00001004"),
    ]
)
"""Few, so that acts meet."""


class Acts(RuleBasedStateMachine):
    """Every step is one act, or time that passes."""

    template: Path
    """The store that each example starts from."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        shutil.copy(self.template, self.directory / "store.sqlite")
        self.store = open_store(store_url(self.directory / "store.sqlite"))
        self.issued = Issued(self.store)
        self.model = {
            (card, place): Model(NOW + EXPIRES_AFTER if card == "X" else NOT_AFTER)
            for card, size in CERTIFICATES.items()
            for place in range(size)
        }
        self.serials = {card: self.issued.serials(card) for card in CERTIFICATES}
        self.revisions = dict.fromkeys(CERTIFICATES, 0)
        self.announced: list[str] = []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    def named(self, scope: Scope, subject: Any) -> list[Key]:
        if scope is Scope.CERTIFICATE:
            return [subject]
        cards = subject if scope is Scope.CARD else ENTITIES[subject]
        return [(card, place) for card in cards for place in range(CERTIFICATES[card])]

    def act(
        self, verb: Verb, scope: Scope, subject: Any, ground: str, allowed: Any, **details: Any
    ) -> list[Key]:
        """Do an act, and check that it touched just what is allowed, or was refused as a whole."""
        keys = self.named(scope, subject)
        touched = [
            key
            for key in keys
            if not self.model[key].revoked
            and self.model[key].expires >= self.issued.clock.now()
            and allowed(self.model[key])
        ]
        name = self.serials[subject[0]][subject[1]] if scope is Scope.CERTIFICATE else subject
        request = ActRequest(verb, scope, name, ground, document="a paper", **details)
        if touched:
            result = self.issued.acts.perform(request)
            serials = [certificate.serial.hex().upper() for certificate in result.certificates]
            assert serials == [self.serials[card][place] for card, place in touched]
        else:
            with pytest.raises(StatusConflict):
                self.issued.acts.perform(request)
        return touched

    def seen(self) -> dict[Key, tuple[str, datetime | None, int | None]]:
        return {key: one.seen() for key, one in self.model.items()}

    def note(self, before: dict[Key, Any]) -> None:
        """Whatever looks different now was announced, in the order of the items; its card rose by one."""
        changed = [key for key in self.model if before[key] != self.model[key].seen()]
        self.announced += [self.serials[card][place] for card, place in changed]
        for card in {card for card, _ in changed}:
            self.revisions[card] += 1

    @rule(named=subjects, owner=st.sampled_from(sorted(OWNERS)))
    def suspend(self, named: tuple[Scope, Any], owner: str) -> None:
        ground, _, origin, body = OWNERS[owner]
        scope, subject = self.within(named, origin)
        before = self.seen()
        for key in self.act(
            Verb.SUSPEND,
            scope,
            subject,
            ground,
            lambda one: owner not in one.holders,
            origin=origin,
            on_behalf_of=body,
        ):
            self.model[key].holders[owner] = self.issued.clock.now()
        self.note(before)

    @rule(named=subjects, owner=st.sampled_from(sorted(OWNERS)))
    def resume(self, named: tuple[Scope, Any], owner: str) -> None:
        self.lift(named, owner)

    @rule(data=st.data())
    def resume_what_is_held(self, data: st.DataObject) -> None:
        held = [(key, owner) for key, one in self.model.items() for owner in sorted(one.holders)]
        if held:
            key, owner = data.draw(st.sampled_from(held))
            self.lift((Scope.CERTIFICATE, key), owner)

    def lift(self, named: tuple[Scope, Any], owner: str) -> None:
        _, ground, origin, body = OWNERS[owner]
        scope, subject = self.within(named, origin)
        before = self.seen()
        for key in self.act(
            Verb.RESUME,
            scope,
            subject,
            ground,
            lambda one: owner in one.holders,
            origin=origin,
            on_behalf_of=body,
        ):
            del self.model[key].holders[owner]
        self.note(before)

    @rule(named=subjects, ground=st.sampled_from([("wrongly-issued", 0), ("key-misused", 1)]))
    def revoke(self, named: tuple[Scope, Any], ground: tuple[str, int]) -> None:
        before = self.seen()
        for key in self.act(Verb.REVOKE, *named, ground[0], lambda _: True):
            self.model[key].revoked = (self.issued.clock.now(), ground[1])
        self.note(before)

    @rule(named=subjects)
    def accept(self, named: tuple[Scope, Any]) -> None:
        scope, subject = self.within(named, Origin.SUBSCRIBER)
        for key in self.act(Verb.ACCEPT, scope, subject, "content-confirmed", lambda one: not one.accepted):
            self.model[key].accepted = True

    @rule(passes=st.timedeltas(timedelta(microseconds=1), timedelta(days=4)))
    def time(self, passes: timedelta) -> None:
        self.issued.clock.move(passes)

    def within(self, named: tuple[Scope, Any], origin: Origin) -> tuple[Scope, Any]:
        """The nearest subject that the origin may name: authorities the entity, subscribers no entity."""
        scope, subject = named
        if origin is Origin.AUTHORITY and scope is not Scope.ENTITY:
            card = subject[0]
            return Scope.ENTITY, next(number for number, cards in ENTITIES.items() if card in cards)
        if origin in (Origin.SUBSCRIBER, Origin.COUNTER) and scope is Scope.ENTITY:
            return Scope.CARD, ENTITIES[subject][0]
        return scope, subject

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        found = dict[str, tuple[str, datetime | None, int | None]]()
        with self.store.read() as connection:
            for serial, state, since, reason in connection.execute(text(_STATES)):
                moment = None if since is None else EPOCH + timedelta(microseconds=since)
                found[serial.hex().upper()] = (("good", "held", "revoked")[state], moment, reason)
            revisions = {row.number: row.revision for row in connection.execute(text(_REVISIONS))}
            feed = list(connection.execute(text(_FEED)))
        assert found == {self.serials[card][place]: one.seen() for (card, place), one in self.model.items()}
        assert revisions == self.revisions
        assert [sequence for sequence, _, _ in feed] == list(range(1, len(feed) + 1))
        changed = [serial.hex().upper() for _, kind, serial in feed if kind == ChangeKind.STATUS]
        accepted = [serial.hex().upper() for _, kind, serial in feed if kind == ChangeKind.ACCEPTED]
        assert changed == self.announced
        assert sorted(accepted) == sorted(
            self.serials[card][place] for (card, place), one in self.model.items() if one.accepted
        )


_STATES = """
    SELECT reservation.serial, certificate_status.state, crl_entry.since, crl_entry.reason
    FROM certificate_status JOIN reservation USING (item_id) LEFT JOIN crl_entry USING (item_id)
"""
_REVISIONS = """
    SELECT card.number, coalesce(card_status_revision.revision, 0) AS revision
    FROM card LEFT JOIN card_status_revision ON card_status_revision.card_id = card.id
"""
_FEED = """
    SELECT status_change.sequence, status_change.kind, reservation.serial
    FROM status_change JOIN reservation ON reservation.item_id = status_change.subject
    ORDER BY status_change.sequence
"""


@pytest.mark.cps("4.4.1")
@pytest.mark.cps("4.4.9")
@pytest.mark.cps("choice 10")
def test_acts_in_any_order(issued_file: Path) -> None:
    machine = type("ActsOnCopies", (Acts,), {"template": issued_file})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
