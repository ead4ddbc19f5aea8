"""Stored OCSP answers: a batch before it is signed, one answer a card, and which cards are asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert, select

from engine.store.answer_counts import AnswerCounts, count_answers
from engine.store.bulk_append import replace
from engine.store.bulk_select import ASKED_AT_ONCE, rows_of
from engine.store.database import Store
from engine.store.ocsp_answers import (
    NewAnswer,
    answers_of_card_range,
    answers_of_cards,
    cards_of_batches,
    cards_to_renew,
    drop_answers,
    owed_among,
    reserve_batch,
    revisions_of,
    settle,
    store_answers,
)
from engine.store.schema import (
    CertificateState,
    card_status_revision,
    ocsp_answer,
    ocsp_batch,
    to_microseconds,
)
from engine.store.standings import NewStanding, change_standings, standings_of_cards
from engine.store.status_changes import ChangeKind, changes_after
from tests.store.plans import NOT_AFTER, NOW, issue_run, plan

MOMENT = to_microseconds(NOW)


def batch(connection: Connection, *, urgent: bool = False) -> int:
    return reserve_batch(connection, responder_id=3, digests=bytes(64), urgent=urgent, now=NOW)


def answer(card: int, batch_id: int, *, renew_at: int = MOMENT, octets: bytes = b"answer") -> NewAnswer:
    return NewAnswer(card, batch_id, 3, renew_at, octets)


def put(store: Store, *answers: tuple[int, int], revision: int = 0) -> int:
    """Store an answer for each card, to be renewed at the second given; return the batch."""
    with store.write() as connection:
        number = batch(connection)
        made = [(answer(card, number, renew_at=at * 1_000_000), revision) for card, at in answers]
        assert store_answers(connection, number, made, NOW) == len(answers)
    return number


def raise_revision(store: Store, card: int, revision: int, answered: int = 0) -> None:
    with store.write() as connection:
        connection.execute(
            insert(card_status_revision).values(
                card_id=card, revision=revision, answered=answered, changed_at=MOMENT
            )
        )


def test_a_batch_is_recorded_before_it_is_completed(store: Store) -> None:
    with store.write() as connection:
        first, second = batch(connection), batch(connection, urgent=True)
    with store.read() as connection:
        rows = connection.execute(select(ocsp_batch)).all()
    assert [(row.id, row.urgent, row.responder_id, row.digests, row.completed_at) for row in rows] == [
        (first, False, 3, bytes(64), None),
        (second, True, 3, bytes(64), None),
    ]


def test_answers_are_stored_with_word_to_the_feed(store: Store) -> None:
    number = put(store, (5, 100), (6, 50))
    with store.read() as connection:
        (row,) = connection.execute(select(ocsp_batch)).all()
        assert (row.id, row.completed_at) == (number, NOW)
        assert answers_of_cards(connection, [5, 6, 7]) == {5: b"answer", 6: b"answer"}
        (change,) = changes_after(connection, 0, 10)
        assert (change.kind, change.subject) == (ChangeKind.ANSWERED, number)
        assert sorted(cards_of_batches(connection, [number])) == [5, 6]


def test_a_newer_answer_takes_the_place_of_the_old(store: Store) -> None:
    first = put(store, (5, 100), (6, 100))
    second = put(store, (6, 200), (7, 300))
    with store.read() as connection:
        assert cards_of_batches(connection, [first]) == [5]
        assert sorted(cards_of_batches(connection, [first, second])) == [5, 6, 7]
        rows = connection.execute(select(ocsp_answer).order_by(ocsp_answer.c.card_id)).all()
    assert [(row.card_id, row.batch_id, row.renew_at // 1_000_000) for row in rows] == [
        (5, first, 100),
        (6, second, 200),
        (7, second, 300),
    ]


def test_an_answer_of_another_revision_is_not_stored(store: Store) -> None:
    raise_revision(store, 5, 2)
    raise_revision(store, 6, 1)
    with store.write() as connection:
        number = batch(connection)
        made = [
            (answer(5, number), 1),
            (answer(6, number), 1),
            (answer(7, number), 0),
            (answer(8, number), 1),
        ]
        assert store_answers(connection, number, made, NOW) == 2
        assert sorted(answers_of_cards(connection, [5, 6, 7, 8])) == [6, 7]
        rows = connection.execute(
            select(card_status_revision.c.card_id, card_status_revision.c.answered)
        ).all()
    assert dict(tuple(row) for row in rows) == {5: 0, 6: 1}


def test_revisions_and_settling(store: Store) -> None:
    raise_revision(store, 5, 2)
    with store.write() as connection:
        assert revisions_of(connection, [4, 5]) == {5: 2}
        settle(connection, [(5, 2), (4, 1)])
        settle(connection, [])
        assert connection.execute(select(card_status_revision.c.answered)).scalars().all() == [2]


def test_who_is_owed_an_answer(store: Store) -> None:
    raise_revision(store, 5, 2, answered=1)
    raise_revision(store, 6, 2, answered=2)
    raise_revision(store, 7, 1)
    with store.read() as connection:
        assert owed_among(connection, [4, 5, 6]) == {5}
        assert owed_among(connection, []) == set()


def test_ranges_of_cards(store: Store) -> None:
    put(store, *((card, 1) for card in (1, 2, 3, 4)))
    with store.read() as connection:
        assert list(answers_of_card_range(connection, 1, 3)) == [2, 3]


def test_who_is_due_longest_is_renewed_first(store: Store) -> None:
    put(store, (1, 30), (2, 10), (3, 20), (4, 40))
    with store.read() as connection:
        assert cards_to_renew(connection, 30_000_000, 10, (0, 1)) == [2, 3, 1]
        assert cards_to_renew(connection, 30_000_000, 2, (0, 1)) == [2, 3]
        assert cards_to_renew(connection, 40_000_000, 10, (0, 2)) == [2, 4]
        assert cards_to_renew(connection, 9_999_999, 10, (0, 1)) == []


def test_answers_that_nobody_needs_are_dropped(store: Store) -> None:
    put(store, (1, 30), (2, 10))
    with store.write() as connection:
        drop_answers(connection, [])
        drop_answers(connection, [2, 9])
        assert list(answers_of_cards(connection, [1, 2])) == [1]


def test_counts(store: Store) -> None:
    issue_run(store, plan(store, 3))
    put(store, (1, int(NOW.timestamp()) - 1), (2, int(NOW.timestamp()) + 1))
    with store.write() as connection:
        batch(connection)
        (first,) = standings_of_cards(connection, [1])
        held = NewStanding(first.certificates[0], CertificateState.HELD, MOMENT, 6)
        change_standings(connection, [held], NOW)
    with store.read() as connection:
        assert count_answers(connection, NOW) == AnswerCounts(
            cards=3, answered=2, owed=1, due=1, batches_signed=1
        )
        assert count_answers(connection, NOT_AFTER - timedelta(seconds=1)).cards == 3
        assert count_answers(connection, NOT_AFTER).cards == 0


@pytest.mark.parametrize("asked", [0, 1, ASKED_AT_ONCE, ASKED_AT_ONCE + 1, 2 * ASKED_AT_ONCE + 1])
def test_any_count_of_numbers_can_be_asked_for(store: Store, asked: int) -> None:
    with store.write() as connection:
        columns = ("card_id", "batch_id", "responder_id", "renew_at", "answer")
        everything = [(card, 1, 1, 1, b"") for card in range(1, 2 * ASKED_AT_ONCE + 2)]
        replace(connection, ocsp_answer, columns, everything)
        numbers = [2 * number + 1 for number in range(asked)]
        statement = "SELECT card_id FROM ocsp_answer WHERE card_id IN ({places})"
        found = [card for (card,) in rows_of(connection, statement, numbers)]
    assert sorted(found) == [number for number in numbers if number <= 2 * ASKED_AT_ONCE + 1]
