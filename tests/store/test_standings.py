"""Standings: status, CRL entry, the card's revision and the feed move together."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from engine.store.bulk_select import ASKED_AT_ONCE
from engine.store.database import Store
from engine.store.schema import CertificateState, card_status_revision, crl_entry, to_microseconds
from engine.store.standings import (
    NewStanding,
    cards_of_items,
    cards_of_units,
    cards_owed_an_answer,
    change_standings,
    standings_of_cards,
)
from engine.store.status_changes import changes_after
from tests.store.plans import NOT_AFTER, NOW, complete_unit, issue_run, lease, plan, reserve_unit

LATER = NOW + timedelta(hours=1)
MOMENT = to_microseconds(NOW)


@pytest.fixture
def issued(store: Store) -> Store:
    """Three cards, 1 to 3, of two certificates each: items 1 to 6."""
    issue_run(store, plan(store, 3))
    return store


def change(store: Store, card: int, place: int, state: CertificateState, reason: int | None) -> int:
    since = None if reason is None else MOMENT
    with store.write() as connection:
        (found,) = standings_of_cards(connection, [card])
        return change_standings(
            connection, [NewStanding(found.certificates[place], state, since, reason, since)], LATER
        )


def entries(store: Store) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(select(crl_entry))]


def test_a_card_is_good_from_its_first_day(issued: Store) -> None:
    with issued.read() as connection:
        first, third = standings_of_cards(connection, [3, 1, 3])
    assert [(one.item_id, one.card_id, one.state, one.since, one.reason) for one in first.certificates] == [
        (1, 1, CertificateState.GOOD, None, None),
        (2, 1, CertificateState.GOOD, None, None),
    ]
    assert (first.revision, third.card_id) == (0, 3)
    assert {one.not_after for one in third.certificates} == {to_microseconds(NOT_AFTER)}


def test_a_certificate_that_was_not_issued_has_no_standing(store: Store) -> None:
    run_id = plan(store, 2)
    held = lease(store, run_id)
    reserve_unit(store, held)
    complete_unit(store, held, failing=1)
    with store.read() as connection:
        (found,) = standings_of_cards(connection, [1, 2])
    assert [one.item_id for one in found.certificates] == [2]


def test_everything_moves_in_one_step(issued: Store) -> None:
    assert change(issued, 2, 1, CertificateState.REVOKED, 1) == 1
    with issued.read() as connection:
        (card,) = standings_of_cards(connection, [2])
        (entry,) = connection.execute(select(crl_entry)).all()
        (announced,) = changes_after(connection, 0, 10)
    assert card.revision == 1
    good, revoked = card.certificates
    assert good.state == CertificateState.GOOD
    assert (revoked.state, revoked.since, revoked.reason) == (CertificateState.REVOKED, MOMENT, 1)
    assert (entry.item_id, entry.serial, entry.since, entry.reason) == (4, revoked.serial, MOMENT, 1)
    assert (entry.invalidity_at, entry.not_after) == (MOMENT, to_microseconds(NOT_AFTER))
    assert (announced.subject, announced.changed_at) == (4, to_microseconds(LATER))


def test_a_good_certificate_has_no_entry(issued: Store) -> None:
    change(issued, 1, 0, CertificateState.HELD, 6)
    change(issued, 1, 0, CertificateState.REVOKED, 4)
    assert [row[5] for row in entries(issued)] == [4]
    change(issued, 1, 0, CertificateState.GOOD, None)
    assert entries(issued) == []
    with issued.read() as connection:
        assert standings_of_cards(connection, [1])[0].revision == 3


def test_a_card_rises_by_one_however_many_of_its_certificates_change(issued: Store) -> None:
    with issued.write() as connection:
        found = standings_of_cards(connection, [1, 2])
        held = [
            NewStanding(one, CertificateState.HELD, MOMENT, 6) for card in found for one in card.certificates
        ]
        assert change_standings(connection, held[::-1], LATER) == 4
        assert [card.revision for card in standings_of_cards(connection, [1, 2, 3])] == [1, 1, 0]
        assert [change.subject for change in changes_after(connection, 0, 10)] == [1, 2, 3, 4]


def test_who_waits_longest_is_answered_first(issued: Store) -> None:
    change(issued, 3, 0, CertificateState.HELD, 6)
    with issued.write() as connection:
        (card,) = standings_of_cards(connection, [1])
        earlier = [NewStanding(card.certificates[0], CertificateState.HELD, MOMENT, 6)]
        change_standings(connection, earlier, NOW)
        assert cards_owed_an_answer(connection, 10) == [1, 3]
        assert cards_owed_an_answer(connection, 1) == [1]
        connection.execute(
            update(card_status_revision).where(card_status_revision.c.card_id == 1).values(answered=1)
        )
        assert cards_owed_an_answer(connection, 10) == [3]


def test_no_change_is_a_defect_of_the_caller(issued: Store) -> None:
    with pytest.raises(ValueError, match="no certificate changes"), issued.write() as connection:
        change_standings(connection, [], NOW)


def test_cards_of_items_and_of_units(issued: Store) -> None:
    plan(issued, 1)  # a unit of which nothing is issued
    with issued.read() as connection:
        assert cards_of_items(connection, [6, 1, 2, 99]) == [1, 3]
        assert cards_of_units(connection, [1, 3, 4]) == [1, 3]


def test_more_cards_than_one_question_takes(store: Store) -> None:
    many = ASKED_AT_ONCE + 1
    issue_run(store, plan(store, many, unit_size=200))
    with store.read() as connection:
        found = standings_of_cards(connection, range(1, many + 1))
        assert cards_of_items(connection, range(1, 2 * many + 1)) == list(range(1, many + 1))
    assert [card.card_id for card in found] == list(range(1, many + 1))
