"""Verification of the chain: every kind of damage is found, and the right record is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.audit.log import AuditRecord
from engine.audit.verify import EXAMINED, Damage, verify_chain
from tests.audit.chains import START, found, made, rehashed, renumbered, stranger

LENGTH = 12
WHOLE = made(LENGTH)
positions = st.integers(0, LENGTH - 1)
scripted = settings(derandomize=True, deadline=None, max_examples=60)

CHANGES: dict[str, Any] = {
    "recorded_at": START - timedelta(days=1),
    "actor": "account nobody",
    "event": "unit.reserved",
    "body": '{"unit":99}',
    "hash": bytes(32),
}


def changed(position: int, **fields: Any) -> list[AuditRecord]:
    records = list(WHOLE)
    records[position] = replace(records[position], **fields)
    return records


def test_whole_chain() -> None:
    assert found(WHOLE) == []
    assert found(WHOLE[:1]) == []
    assert verify_chain([], None, []) == []


@pytest.mark.cps("4.5.4")
@pytest.mark.parametrize("field", CHANGES)
@pytest.mark.parametrize("position", range(LENGTH))
def test_changed_record_is_named(field: str, position: int) -> None:
    records = changed(position, **{field: CHANGES[field]})
    assert found(records, head=(LENGTH, WHOLE[-1].hash)) == [(Damage.CHANGED, position + 1)]


def test_change_that_was_hashed_anew_is_found_at_the_record_after_it() -> None:
    records = changed(4, body="{}")
    records[4] = rehashed([records[4]], records[3].hash)[0]
    assert found(records) == [(Damage.CHANGED, 6)]


@given(positions, st.integers(1, 4))
@scripted
def test_changed_numbers(position: int, by: int) -> None:
    records = [
        replace(record, sequence=record.sequence + (by if index >= position else 0))
        for index, record in enumerate(WHOLE)
    ]
    assert found(records) == [(Damage.CHANGED, position + 1 + by)]


@pytest.mark.cps("4.5.4")
@given(positions, st.integers(1, LENGTH))
@scripted
def test_removed_records_are_named(position: int, count: int) -> None:
    assume(position + count < LENGTH)
    records = WHOLE[:position] + WHOLE[position + count :]
    assert found(records) == [(Damage.REMOVED, position + 1)]
    # Renumbered, what is missing leaves no gap, and the record after it fits nothing.
    assert found(renumbered(records)) == [(Damage.CHANGED, position + 1)]


@given(st.integers(0, LENGTH - 1))
@scripted
def test_tail_cut_off_is_found_by_the_head(kept: int) -> None:
    assert found(WHOLE[:kept], head=(LENGTH, WHOLE[-1].hash)) == [(Damage.CUT_OFF, kept + 1)]


def test_missing_head_is_found() -> None:
    findings = verify_chain(WHOLE, None, [])
    assert [(finding.damage, finding.sequence) for finding in findings] == [(Damage.REMOVED, LENGTH)]


def test_head_of_another_hash_is_found() -> None:
    assert found(WHOLE, head=(LENGTH, bytes(32))) == [(Damage.CHANGED, LENGTH)]


@pytest.mark.cps("4.5.4")
@given(st.integers(0, LENGTH - 1), st.integers(-1, LENGTH - 1))
@scripted
def test_inserted_record_is_named(position: int, chained_to: int) -> None:
    """Whether it is chained to the record before it or to another: those around it fit each other without it."""
    inserted = stranger(WHOLE[chained_to].hash if chained_to >= 0 else bytes(32))
    records = renumbered([*WHOLE[:position], inserted, *WHOLE[position:]])
    assert found(records) == [(Damage.INSERTED, position + 1)]


def test_several_inserted_records_are_one_finding() -> None:
    inserted = rehashed([stranger(b""), stranger(b""), stranger(b"")], WHOLE[4].hash)
    records = renumbered([*WHOLE[:5], *inserted, *WHOLE[5:]])
    (finding,) = verify_chain(records, (len(records), records[-1].hash), [])
    assert (finding.damage, finding.sequence) == (Damage.INSERTED, 6)
    assert finding.detail.startswith("records 6 to 8: ")


def test_record_appended_behind_the_head_is_found() -> None:
    records = renumbered([*WHOLE, stranger(WHOLE[-1].hash)])
    assert found(records, head=(LENGTH, WHOLE[-1].hash)) == [(Damage.INSERTED, LENGTH + 1)]


@pytest.mark.cps("4.5.4")
@given(positions, positions)
@scripted
def test_moved_record_is_named(origin: int, to: int) -> None:
    assume(abs(origin - to) > 1)
    records = list(WHOLE)
    records.insert(to, records.pop(origin))
    assert found(renumbered(records), head=(LENGTH, WHOLE[-1].hash)) == [(Damage.MOVED, to + 1)]


@given(st.integers(0, LENGTH - 2))
@scripted
def test_neighbours_that_changed_places_are_found(first: int) -> None:
    records = list(WHOLE)
    records[first], records[first + 1] = records[first + 1], records[first]
    ((damage, sequence),) = found(renumbered(records), head=(LENGTH, WHOLE[-1].hash))
    assert damage is Damage.MOVED
    assert sequence in {first + 1, first + 2}


@given(positions, positions)
@scripted
def test_both_of_two_swapped_records_are_named(one: int, other: int) -> None:
    first, second = sorted((one, other))
    assume(second - first > 2)
    records = list(WHOLE)
    records[first], records[second] = records[second], records[first]
    assert found(renumbered(records), head=(LENGTH, WHOLE[-1].hash)) == [
        (Damage.MOVED, first + 1),
        (Damage.MOVED, second + 1),
    ]


def test_two_kinds_of_damage_at_once() -> None:
    records = [record for record in changed(2, actor="x") if record.sequence != 9]
    assert found(records) == [(Damage.CHANGED, 3), (Damage.REMOVED, 9)]


@given(st.data())
@settings(derandomize=True, deadline=None, max_examples=150)
def test_no_damage_goes_unnoticed(data: st.DataObject) -> None:
    """Whatever is done to content, order or number, but for rewriting the whole: something is found."""
    records = list(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(records) - 1))
        act = data.draw(st.sampled_from(["change", "remove", "insert", "move"]))
        if act == "change":
            records[position] = replace(records[position], body=data.draw(st.text(max_size=3)))
        elif act == "remove" and len(records) > 1:
            del records[position]
        elif act == "insert":
            records.insert(position, stranger(records[position - 1].hash))
        else:
            records.insert(data.draw(st.integers(0, len(records) - 1)), records.pop(position))
    assume(records != WHOLE)
    assert found(renumbered(records), head=(LENGTH, WHOLE[-1].hash))


def test_chain_broken_everywhere_is_reported_record_by_record() -> None:
    count = 2 * EXAMINED
    records = [replace(record, hash=record.sequence.to_bytes(32)) for record in made(count)]
    assert found(records) == [(Damage.CHANGED, number) for number in range(1, count + 1)]
