"""The scratch space of planning: everything comes out sorted and together, and nothing stays behind."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputRejected, StoreError
from engine.issuance.staging import SCRATCH_NAME, StagedCard, open_stage
from engine.kinds import Kind, Rank, Usage
from engine.register.row import RegisterRow
from tests.register.extracts import row


def staged(
    line: int, identifier: str = "1", *, number: str | None = None, keys: int = 2, **digests: bytes
) -> StagedCard:
    """A card with keys of its own, unless digests are given."""
    all_keys = [
        (usage, b"key of " + usage.value.encode(), digests.get(usage.value, f"{line}{usage.value}".encode()))
        for usage in Usage
    ]
    return StagedCard(
        line, identifier, Kind.COMPANY, Rank.PRIMARY, number or f"MG{line}", tuple(all_keys[:keys])
    )


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
days = st.none() | st.dates()
rows = st.builds(
    RegisterRow,
    st.integers(1, 10**9),
    st.sampled_from(Kind),
    st.sampled_from(["00000001", "00000002", "一", "𠮷"]),
    st.none() | texts,
    texts,
    st.none() | texts,
    texts,
    st.none() | texts,
    st.none() | st.integers(0, 10**18 - 1),
    st.none() | texts,
    texts,
    days,
    days,
    days,
)
cards = st.builds(
    lambda line, identifier, rank, keys: staged(line, identifier, keys=keys)._replace(rank=rank),
    st.integers(1, 10**9),
    st.sampled_from(["00000001", "00000003", "豈"]),
    st.sampled_from(Rank),
    st.integers(1, 2),
)


@given(
    st.lists(rows, max_size=8, unique_by=lambda found: found.row_number),
    st.lists(cards, max_size=8, unique_by=lambda found: found.line),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_everything_comes_out_as_it_went_in_number_by_number(
    tmp_path_factory: pytest.TempPathFactory, some_rows: list[RegisterRow], some_cards: list[StagedCard]
) -> None:
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        stage.add_cards(some_cards)
        stage.sort_cards()
        assert list(stage.drop_repeated()) == []
        stage.add_rows(some_rows)
        stage.sort_rows()
        groups = list(stage.entities())
    identifiers = [
        {found.identifier for found in group[0]} | {found.identifier for found in group[1]}
        for group in groups
    ]
    assert [len(each) for each in identifiers] == [1] * len(groups)
    order = [each.pop() for each in identifiers]
    assert order == sorted(
        {found.identifier for found in some_rows} | {found.identifier for found in some_cards}
    )
    assert [found for group in groups for found in group[0]] == sorted(
        some_rows, key=lambda found: (found.identifier, found.row_number)
    )
    assert sorted(found for group in groups for found in map(str, group[1])) == sorted(map(str, some_cards))


def test_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    numbers = [f"{number:08d}" for number in range(500)]
    shuffled = random.Random(5).sample(numbers, len(numbers))
    with open_stage(tmp_path) as stage:
        stage.add_cards(staged(line, number) for line, number in enumerate(shuffled, 1))
        stage.sort_cards()
        stage.add_rows(replace(row(), row_number=n, identifier=i) for n, i in enumerate(reversed(shuffled)))
        stage.sort_rows()
        met = [(each.identifier, card.identifier) for (each,), (card,) in stage.entities()]
    assert met == [(number, number) for number in numbers]


def test_cards_that_repeat_a_number_or_a_key_are_dropped(tmp_path: Path) -> None:
    some = [
        staged(1, signature=b"a"),
        staged(2, number="MG1"),
        staged(3, encryption=b"a"),
        staged(4, signature=b"a"),
        staged(5),
    ]
    with open_stage(tmp_path) as stage:
        stage.add_cards(some)
        stage.sort_cards()
        repeated = list(stage.drop_repeated())
        left = [card.line for _, group in stage.entities() for card in group]
    assert [(found.line, found.field, found.value, found.first_line) for found in repeated] == [
        (2, "card_number", "MG1", 1),
        (3, "keys.encryption", b"a".hex(), 1),
        (4, "keys.signature", b"a".hex(), 1),
    ]
    assert left == [1, 5]


def test_name_of_a_company_is_its_own_rows(tmp_path: Path) -> None:
    named = row(row_number=1, name="甲")
    office = row(row_number=2, identifier="2", name="", branch_name="分公司", set_up_date=date(2020, 1, 1))
    torn = [row(row_number=n, identifier="3", name=name) for n, name in ((3, "乙"), (4, "丙"))]
    with open_stage(tmp_path) as stage:
        stage.add_rows([named, named, office, *torn])
        stage.sort_rows()
        assert stage.name_of(named.identifier) == "甲"
        assert [stage.name_of(number) for number in ("2", "3", "4")] == [None, None, None]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputRejected("wrong")])
def test_nothing_stays_behind(tmp_path: Path, error: BaseException) -> None:
    with open_stage(tmp_path) as stage:
        stage.add_rows([row()])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(type(error)), open_stage(tmp_path) as stage:
        stage.add_rows([row()])
        raise error
    assert list(tmp_path.iterdir()) == []


def test_scratch_space_is_private_and_what_a_killed_process_left_is_gone(tmp_path: Path) -> None:
    left = tmp_path / SCRATCH_NAME / "stage.sqlite"
    left.parent.mkdir()
    left.write_bytes(b"half a register")
    with open_stage(tmp_path) as stage:
        assert (tmp_path / SCRATCH_NAME).stat().st_mode & 0o777 == 0o700
        stage.sort_rows()
        assert list(stage.entities()) == []


def test_full_disk_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="scratch space of planning"), open_stage(tmp_path):
        raise sqlite3.OperationalError("database or disk is full")
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / SCRATCH_NAME).write_bytes(b"a file in the way")
    with pytest.raises(StoreError, match="scratch space"), open_stage(tmp_path):
        pass
