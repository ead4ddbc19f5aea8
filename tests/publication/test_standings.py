"""Which documents are in force, to come, past: with times as the store has them, and as public hosts have them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.publication_kinds import DOCUMENTS, PublicationKind, Standing, in_force, standings

NOW = 1_000


class Row(NamedTuple):
    id: int
    kind: str
    published_at: int
    effective_at: int | None = None
    about: int | None = None
    withdrawn_at: int | None = None


def words(*rows: Row, now: int = NOW) -> list[str]:
    found = standings(rows, now)
    return [found[row.id].value for row in rows]


@pytest.mark.cps("8.2")
def test_a_document_is_in_force_from_its_time_until_the_next() -> None:
    rows = (Row(1, "cps", 10, 20), Row(2, "cps", 500, 1_000), Row(3, "cps", 900, 1_001))
    assert words(*rows) == ["past", "in-force", "upcoming"]
    assert words(*rows, now=999) == ["in-force", "upcoming", "upcoming"]
    assert words(*rows, now=1_001) == ["past", "past", "in-force"]


def test_without_a_time_it_is_in_force_when_published() -> None:
    assert words(Row(1, "fees", 1_000), Row(2, "fees", 1_001)) == ["in-force", "upcoming"]


def test_kinds_do_not_end_each_other() -> None:
    assert words(Row(1, "cps", 10), Row(2, "cp", 20), Row(3, "privacy-policy", 30)) == ["in-force"] * 3


def test_of_two_from_the_same_second_the_later_published_holds() -> None:
    assert words(Row(2, "cps", 10, 100), Row(1, "cps", 20, 100)) == ["in-force", "past"]


@pytest.mark.cps("8.3")
def test_addenda_stand_beside_each_other_until_the_next_whole_text() -> None:
    rows = (Row(1, "cps", 10), Row(2, "cps-addendum", 20), Row(3, "cps-addendum", 30))
    assert words(*rows) == ["in-force"] * 3
    assert [row.id for row in in_force(rows, NOW)] == [1, 2, 3]
    assert words(*rows, Row(4, "cps", 40)) == ["past", "past", "past", "in-force"]


def test_what_is_withdrawn_ends_nothing() -> None:
    assert words(Row(1, "cps", 10), Row(2, "cps", 20, withdrawn_at=30)) == ["in-force", "withdrawn"]


@pytest.mark.cps("8.1.2.5")
def test_a_notice_stands_until_the_revision_takes_effect() -> None:
    notice, revised = Row(2, "notice", 20, 900, about=1), Row(1, "cps", 10)
    assert words(revised, notice) == [
        "in-force",
        "in-force",
    ]  # the time it names has passed, the text is not there
    assert words(revised, notice, Row(3, "cps", 500, 1_001, about=2)) == ["in-force", "in-force", "upcoming"]
    assert words(revised, notice, Row(3, "cps", 500, 1_000, about=2)) == ["past", "past", "in-force"]
    withdrawn = Row(3, "cps", 500, 1_000, about=2, withdrawn_at=1_000)
    assert words(revised, notice, withdrawn) == ["in-force", "in-force", "withdrawn"]


def test_a_kind_that_is_not_known_is_left_out() -> None:
    rows = (Row(1, "poster", 10), Row(2, "news", 10))
    assert standings(rows, NOW) == {2: Standing.IN_FORCE}
    assert in_force(rows, NOW) == []


ROWS = st.lists(
    st.tuples(
        st.sampled_from([*PublicationKind, "poster"]),
        st.integers(0, 9),
        st.none() | st.integers(0, 9),
        st.none() | st.integers(0, 9),
    ),
    max_size=12,
).map(lambda found: [Row(n, str(k), p, e, None, w) for n, (k, p, e, w) in enumerate(found, start=1)])


@given(ROWS, st.integers(0, 9))
def test_of_each_kind_the_newest_that_has_begun_is_in_force(rows: list[Row], now: int) -> None:
    holding = in_force(rows, now)
    for kind in DOCUMENTS:
        begun = [
            row.published_at if row.effective_at is None else row.effective_at
            for row in rows
            if row.kind == kind and row.withdrawn_at is None
        ]
        begun = [moment for moment in begun if moment <= now]
        held = [
            row.published_at if row.effective_at is None else row.effective_at
            for row in holding
            if row.kind == kind
        ]
        if kind is PublicationKind.CPS_ADDENDUM:
            assert set(held) <= set(begun)
        else:
            assert held == ([max(begun)] if begun else [])
