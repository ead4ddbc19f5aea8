"""Acts within one transaction: every one is judged and done in memory first, then all are written at once.

So an act that cannot be done takes none of its neighbours with it, and the store is written in a few statements
however many acts there are. A later act sees what an earlier one did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from engine.errors import StatusConflict
from engine.status.act_request import Act
from engine.status.crl_reasons import CrlReason
from engine.status.holds import ActDone, CertificateRecord, Refusal, apply, is_changed, refusal, standing_now
from engine.status.origins import Scope
from engine.store.acts import (
    LiftedHold,
    NewAct,
    NewHold,
    NewRevocation,
    append_acceptances,
    append_acts,
    append_holds,
    append_revocations,
    lift_holds,
    release_ended_primary_cards,
)
from engine.store.standings import NewStanding, change_standings
from engine.store.status_changes import ChangeKind, append_changes, last_change
from engine.store.statuses import (
    items_of_cards,
    items_of_entities,
    items_of_serials,
    lock_statuses,
    statuses_of_items,
)

_ITEMS_OF: dict[Scope, Callable[[Connection, Sequence[str]], dict[str, list[int]]]] = {
    Scope.CERTIFICATE: items_of_serials,
    Scope.CARD: items_of_cards,
    Scope.ENTITY: items_of_entities,
}


class Effect(NamedTuple):
    """An act and what each certificate that it touched was worth after it."""

    done: ActDone
    standings: tuple[NewStanding, ...]


class ActTransaction:
    """The certificates that some acts name, read and locked, and what the acts do to them.

    Args:
        connection: a writing transaction.
        acts: every act that will be tried.
        now: when they are done.
    """

    def __init__(self, connection: Connection, acts: Sequence[Act], now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._done: list[ActDone] = []
        named = {
            scope: find(connection, sorted({act.subject for act in acts if act.scope is scope}))
            for scope, find in _ITEMS_OF.items()
        }
        self._items = {(scope, name): ids for scope, found in named.items() for name, ids in found.items()}
        every = sorted({item_id for items in self._items.values() for item_id in items})
        lock_statuses(connection, every)
        self._records = {
            item_id: CertificateRecord.of(stored)
            for item_id, stored in statuses_of_items(connection, every).items()
        }

    def do(self, act: Act) -> Effect:
        """Do an act to every certificate it names that allows it. Nothing is written yet.

        Raises:
            StatusConflict: none of them does, or there is none.
        """
        named = self._items.get((act.scope, act.subject), ())
        records = [self._records[item_id] for item_id in named if item_id in self._records]
        refusals = [refusal(act, record, self._now) for record in records]
        allowed = [record for record, why in zip(records, refusals, strict=True) if why is None]
        if not allowed:
            raise _conflict(act, [why for why in refusals if why is not None])
        done = ActDone(act, self._now)
        self._done.append(done)
        for record in allowed:
            apply(done, record)
        return Effect(done, tuple(map(standing_now, allowed)))

    def write(self, actor: str) -> int:
        """Write what was done, and give the acts their numbers.

        Args:
            actor: who did it.

        Returns:
            The last sequence number of the change feed.
        """
        acts = [_new_act(done, actor) for done in self._done]
        for done, act_id in zip(self._done, append_acts(self._connection, acts), strict=True):
            done.act_id = act_id
        self._write_holds()
        self._write_ends()
        changed = [new for new in map(standing_now, self._records.values()) if is_changed(new)]
        if not changed:
            return last_change(self._connection)
        sequence = change_standings(self._connection, changed, self._now)
        cards = {record.before.card_id for record in self._records.values() if record.revoked_by is not None}
        release_ended_primary_cards(self._connection, sorted(cards), self._now)  # CPS 3.3
        return sequence

    def _write_holds(self) -> None:
        lifted, placed = [], []
        for record in self._records.values():
            for hold in record.holds:
                if hold.row is None and hold.placed_by is not None:
                    by = hold.lifted_by
                    ended = (None, None) if by is None else (by.at, by.act_id)
                    owner = (hold.origin.value, hold.on_behalf_of)
                    placed.append(
                        NewHold(record.before.item_id, *owner, hold.placed_at, hold.placed_by.act_id, *ended)
                    )
                elif hold.row is not None and hold.lifted_by is not None:
                    lifted.append(LiftedHold(hold.row, hold.lifted_by.act_id))
        lift_holds(
            self._connection, lifted, self._now
        )  # first: one owner's next hold needs the place of his last
        append_holds(self._connection, placed)

    def _write_ends(self) -> None:
        records = [(record.before.item_id, record) for record in self._records.values()]
        accepted = [
            (item_id, record.accepted_by.act_id)
            for item_id, record in records
            if record.accepted_by is not None
        ]
        revoked = [
            _new_revocation(item_id, record.revoked_by)
            for item_id, record in records
            if record.revoked_by is not None
        ]
        append_acceptances(self._connection, accepted, self._now)
        if accepted:
            items = sorted(item_id for item_id, _ in accepted)
            append_changes(self._connection, ChangeKind.ACCEPTED, items, self._now)
        append_revocations(self._connection, revoked)


def _new_act(done: ActDone, actor: str) -> NewAct:
    act = done.act
    return NewAct(
        verb=act.verb.value,
        origin=act.origin.value,
        on_behalf_of=act.on_behalf_of,
        scope=act.scope.value,
        subject=act.subject,
        ground=act.ground.name,
        document=act.document,
        actor=actor,
        performed_at=done.at,
    )


def _new_revocation(item_id: int, done: ActDone) -> NewRevocation:
    reason = done.act.reason or CrlReason.unspecified
    return NewRevocation(item_id, done.act_id, done.at, int(reason), done.act.invalidity_at)


def _conflict(act: Act, refusals: Sequence[Refusal]) -> StatusConflict:
    """The refusals of an act's certificates as one error: each reason once."""
    place = f"{act.scope.value} {act.subject}"
    if not refusals:
        return StatusConflict("there is no such certificate", place=place, rule="an issued one is named")
    different = list(dict.fromkeys(refusals))
    return StatusConflict(
        "; ".join(why.message for why in different),
        place=place,
        rule="; ".join(dict.fromkeys(why.rule for why in different)),
    )
