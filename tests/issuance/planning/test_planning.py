"""Plans as a whole: every row and card has an outcome, and what is written is what was counted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from sqlalchemy import insert, update

from engine.errors import HomeUnusable, InputRejected, SignatureInvalid, StoreError
from engine.issuance import planning
from engine.issuance.development_card_centre import open_card_centre
from engine.issuance.manifest import MANIFEST_NAME
from engine.issuance.plan_chunk import plan_chunk
from engine.issuance.staging import SCRATCH_NAME
from engine.kinds import Rank, Usage
from engine.store.runs import RunState
from engine.store.schema import (
    audit_record,
    card,
    crl_partition,
    entity,
    item,
    primary_card_claim,
    public_key_claim,
    run,
    subscriber_number_claim,
    work_unit,
)
from tests.issuance.planning.desk import CA_KEY, Desk, number_of, policy, sample_rows


@pytest.mark.cps("1.3.5.1")
@pytest.mark.cps("4.2.1.2")
def test_two_certificates_are_planned_for_every_company(desk: Desk) -> None:
    rows = sample_rows(30)
    cards = desk.cards_for(rows)
    summary = desk.plan(rows, cards)
    assert (summary.rows, summary.eligible, summary.rejected, summary.items) == (30, 30, 0, 60)
    assert (summary.cards, summary.cards_rejected) == (30, 0)
    items, made = desk.rows_of(item), desk.rows_of(card)
    assert len(items) == 60
    assert {row.id: row.number for row in made} == dict(
        enumerate((c.card_number for c in sorted(cards, key=lambda c: c.identifier)), 1)
    )
    keys_of = {c.card_number: c.keys for c in cards}
    numbers = {row.id: row.number for row in made}
    assert all(keys_of[numbers[i.card_id]][Usage(i.usage)] == i.public_key for i in items)
    assert {i.public_key for i in items} == {key for c in cards for key in c.keys.values()}
    claimed = {row.key_digest: row.item_id for row in desk.rows_of(public_key_claim)}
    assert claimed == {hashlib.sha256(i.public_key).digest(): i.id for i in items}
    assert {row.name for row in desk.rows_of(entity)} == {row["Company_Name"] for row in rows}
    assert len(desk.rows_of(primary_card_claim)) == 30


@pytest.mark.cps("4.5.1")
def test_run_and_audit_record_say_what_was_planned(desk: Desk) -> None:
    rows = sample_rows(3)
    extract, cards = desk.extract([*rows, "broken"]), desk.card_file(desk.cards_for(rows))
    rule = policy()
    summary = desk.plan(extract, cards, by=rule)
    (row,) = desk.rows_of(run)
    assert row.id == summary.run_id
    assert row.state == RunState.PLANNED.value
    assert (row.policy_name, row.policy_text, row.legal_basis) == ("test", rule.text, "MOEACA CPS 4.2.1.2")
    assert (row.register_name, row.issuer_key_identifier) == (extract.name, CA_KEY)
    assert row.register_digest == hashlib.sha256(extract.read_bytes()).digest()
    assert row.card_keys_digest == hashlib.sha256((cards / MANIFEST_NAME).read_bytes()).digest()
    assert (row.rows, row.eligible, row.rejected, row.merged, row.already_held) == (4, 3, 1, 0, 0)
    assert (row.item_count, row.created_at) == (6, desk.clock.now())
    (record,) = desk.rows_of(audit_record)
    body = orjson.loads(record.body)
    assert (record.event, record.actor) == ("run.planned", "account wang")
    assert body["register_sha256"] == row.register_digest.hex()
    assert body["policy_sha256"] == rule.digest
    assert (body["run"], body["rows"], body["item_count"]) == (summary.run_id, 4, 6)


def test_dry_run_counts_the_same_and_writes_nothing(desk: Desk) -> None:
    held, fresh = sample_rows(2), sample_rows(4, start=2)
    desk.plan(held, desk.cards_for(held))
    before = desk.contents()
    broken = fresh[0] | {"Business_Accounting_NO": "12345678"}
    extract = desk.extract([*held, *fresh, fresh[1], broken, "not JSON"])
    cards = desk.card_file([*desk.cards_for([*held, *fresh]), b"not JSON\n"])
    dry = desk.plan(extract, cards, dry_run=True)
    assert desk.contents() == before
    assert not (desk.home.path / SCRATCH_NAME).exists()
    assert dry.run_id is None
    real = desk.plan(extract, cards)
    counts = ("rows", "eligible", "rejected", "merged", "already_held", "cards", "cards_rejected", "items")
    assert {name: getattr(dry, name) for name in counts} == {name: getattr(real, name) for name in counts}
    assert (dry.reasons, dry.card_reasons) == (real.reasons, real.card_reasons)
    assert (dry.eligible, dry.already_held, dry.merged, dry.rejected) == (4, 2, 1, 2)
    assert sorted(dry.rejects) == sorted(tuple(row) for row in [r[2:] for r in desk.contents()["run_reject"]])


@pytest.mark.cps("1.3.5.1")
def test_same_extract_planned_twice_issues_nothing_twice(desk: Desk) -> None:
    rows = sample_rows(5)
    extract, cards = desk.extract(rows), desk.card_file(desk.cards_for(rows))
    desk.plan(extract, cards)
    items = desk.rows_of(item)
    again = desk.plan(extract, cards)
    assert (again.eligible, again.already_held, again.items, again.units) == (0, 5, 0, 0)
    other_cards = desk.plan(extract, desk.cards_for(rows))
    assert (other_cards.eligible, other_cards.already_held) == (0, 5)
    assert desk.rows_of(item) == items


@pytest.mark.cps("1.3.5.1")
def test_overlapping_plans_give_an_entity_one_primary_card(desk: Desk) -> None:
    rows = sample_rows(6)
    first = desk.plan(rows[:4], desk.cards_for(rows[:4]))
    second = desk.plan(rows[2:], desk.cards_for(rows[2:]))
    assert (first.eligible, second.eligible, second.already_held) == (4, 2, 2)
    assert len(desk.rows_of(primary_card_claim)) == 6
    assert len(desk.rows_of(card)) == 6


def test_units_and_partitions_have_the_sizes_of_the_policy(desk: Desk) -> None:
    rows = sample_rows(12)
    summary = desk.plan(rows, desk.cards_for(rows), by=policy(unit=5, partition=12))
    units = desk.rows_of(work_unit)
    assert [unit.size for unit in units] == [5, 5, 5, 5, 4]
    assert [unit.partition_id for unit in units] == [1, 1, 2, 2, 3]
    assert [p.allotted for p in desk.rows_of(crl_partition)] == [10, 10, 4]
    assert summary.units == 5
    by_unit = {unit.id: sum(i.unit_id == unit.id for i in desk.rows_of(item)) for unit in units}
    assert by_unit == {unit.id: unit.size for unit in units}
    partition = desk.rows_of(crl_partition)[1]
    assert (partition.uri, partition.complete_uri) == desk.profiles.crl_uris(2)


def test_unit_is_never_larger_than_a_partition(desk: Desk) -> None:
    rows = sample_rows(4)
    desk.plan(rows, desk.cards_for(rows), by=policy(unit=100, partition=3))
    assert [p.allotted for p in desk.rows_of(crl_partition)] == [3, 3, 2]


@pytest.mark.cps("1.3.5.1")
def test_secondary_cards_by_policy(desk: Desk) -> None:
    rows = sample_rows(3)
    secondaries = [card for row in rows for card in desk.cards_for([row, row], rank=Rank.SECONDARY)]
    summary = desk.plan(
        rows, [*desk.cards_for(rows), *secondaries], by=policy(("primary", 1), ("secondary", 2))
    )
    assert (summary.eligible, summary.items) == (3, 18)
    cards = desk.rows_of(card)
    assert [row.rank for row in cards] == ["primary", "secondary", "secondary"] * 3
    assert all(len({c.subject for c in cards if c.entity_id == e.id}) == 1 for e in desk.rows_of(entity))


@pytest.mark.cps("1.3.5.1")
def test_secondary_card_is_for_those_that_hold_a_primary_one(desk: Desk) -> None:
    holders, others = sample_rows(2), sample_rows(2, start=2)
    desk.plan(holders, desk.cards_for(holders))
    extract = [*holders, *others]
    cards = desk.card_file(desk.cards_for(extract, rank=Rank.SECONDARY))
    summary = desk.plan(extract, cards, by=policy(("secondary", 1)))
    assert (summary.eligible, summary.items) == (2, 4)
    assert summary.reasons == {"no-primary-card": 2}
    again = desk.plan(extract, cards, by=policy(("secondary", 1)))
    assert (again.items, again.reasons) == (0, {"no-primary-card": 2, "card-number-taken": 2})


@pytest.mark.cps("3.1.5")
def test_subscriber_numbers_are_assigned_and_in_the_subject(desk: Desk) -> None:
    rows = sample_rows(3)
    desk.plan(rows, desk.cards_for(rows))
    numbers = [row.subscriber_number for row in desk.rows_of(entity)]
    assert len(set(numbers)) == 3
    assert {row.number: row.entity_id for row in desk.rows_of(subscriber_number_claim)} == {
        number: e.id for number, e in zip(numbers, desk.rows_of(entity), strict=True)
    }
    for made, number in zip(desk.rows_of(card), numbers, strict=True):
        assert number.encode() in made.subject


@pytest.mark.cps("3.1.5")
def test_number_given_by_hand_is_a_clash_for_one_entity_only(desk: Desk) -> None:
    rows = sample_rows(4)
    with desk.store.write() as connection:
        connection.execute(insert(subscriber_number_claim).values(number="0000000002", entity_id=900))
    summary = desk.plan(rows, desk.cards_for(rows))
    assert (summary.eligible, summary.reasons) == (3, {"subscriber-number-taken": 1})
    assert [row.subscriber_number for row in desk.rows_of(entity)] == [
        "0000000001",
        "0000000003",
        "0000000004",
    ]


def test_plan_that_breaks_off_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sample_rows(6)
    extract, cards = desk.extract(rows), desk.card_file(desk.cards_for(rows))
    monkeypatch.setattr(planning, "CHUNK_ENTITIES", 2)
    before = desk.contents()

    def interrupted(connection: object, run_id: int | None, chunk: object, rules: object) -> object:
        if len(desk.rows_of(card)) == 4:
            raise KeyboardInterrupt
        return plan_chunk(connection, run_id, chunk, rules)  # type: ignore[arg-type]  # passed on

    with monkeypatch.context() as patched:
        patched.setattr(planning, "plan_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            desk.plan(extract, cards)
    left = desk.contents()
    assert [row.allotted for row in left.pop("crl_partition")] == [0]
    before.pop("crl_partition")
    assert left == before
    assert not (desk.home.path / SCRATCH_NAME).exists()
    assert desk.plan(extract, cards).eligible == 6


def test_killed_plan_is_removed_by_the_next(desk: Desk) -> None:
    """What a killed process leaves: a run being planned with its claims, and the scratch space."""
    rows = sample_rows(3)
    extract, cards = desk.extract(rows), desk.card_file(desk.cards_for(rows))
    killed = desk.plan(extract, cards)
    with desk.store.write() as connection:
        connection.execute(update(run).values(state=RunState.PLANNING.value))
    (desk.home.path / SCRATCH_NAME).mkdir()
    (desk.home.path / SCRATCH_NAME / "stage.sqlite").write_bytes(b"half a register")
    summary = desk.plan(extract, cards)
    assert (summary.eligible, summary.already_held) == (3, 0)
    assert [row.state for row in desk.rows_of(run)] == [RunState.PLANNED.value]
    assert len(desk.rows_of(item)) == 6
    assert killed.items == 6
    assert not (desk.home.path / SCRATCH_NAME).exists()


def test_planning_process_that_is_killed_blocks_nobody(desk: Desk) -> None:
    """The lock falls with its process."""
    holding = (
        "import sys, pathlib, engine.home as h\n"
        "with h.Home(pathlib.Path(sys.argv[1])).lock('planning', 'planning a run'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-P", "-c", holding, str(desk.home.path)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    rows = sample_rows(1)
    extract, cards = desk.extract(rows), desk.card_file(desk.cards_for(rows))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(HomeUnusable, match=rf"another process.*planning a run, process {process.pid}"):
            desk.plan(extract, cards)
        process.send_signal(signal.SIGKILL)
    assert desk.plan(extract, cards).eligible == 1


@pytest.mark.parametrize("damage", ["signature", "content", "signer"])
def test_card_file_that_is_not_as_signed_stops_the_plan(desk: Desk, damage: str) -> None:
    rows = sample_rows(2)
    cards = desk.card_file(desk.cards_for(rows))
    if damage == "content":
        path = cards / "card-keys.jsonl"
        path.write_bytes(path.read_bytes().replace(b"primary", b"Primary", 1))
    elif damage == "signature":
        manifest = json.loads((cards / MANIFEST_NAME).read_text("utf-8"))
        (cards / MANIFEST_NAME).write_text(json.dumps(manifest | {"x": 1}), "utf-8")
    else:
        desk.centre = open_card_centre(desk.directory / "another", desk.clock)
    before = desk.contents()
    with pytest.raises((SignatureInvalid, InputRejected)):
        desk.plan(rows, cards)
    assert desk.contents() == before


@pytest.mark.parametrize("content", ["", "<html>maintenance</html>"])
def test_extract_that_is_none_stops_the_plan(desk: Desk, content: str) -> None:
    cards = desk.card_file(desk.cards_for(sample_rows(1)))
    extract = desk.directory / "extract"
    extract.write_text(content)
    before = desk.contents()
    with pytest.raises(InputRejected, match="extract"):
        desk.plan(extract, cards)
    assert desk.contents() == before


@pytest.mark.cps("4.5.6")
def test_plan_whose_record_cannot_be_written_does_not_exist(desk: Desk) -> None:
    with desk.store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    rows = sample_rows(2)
    with pytest.raises(StoreError, match="audit record could not be written"):
        desk.plan(rows, desk.cards_for(rows))
    left = {name: rows for name, rows in desk.contents().items() if rows}
    assert set(left) == {
        "crl_partition",
        "status_change_head",
    }  # the head of the feed is there from the first


def test_entities_are_planned_in_the_order_of_their_numbers(desk: Desk) -> None:
    rows = sample_rows(8)[::-1]
    desk.plan(rows, desk.cards_for(rows))
    planned = [row.identifier for row in desk.rows_of(entity)]
    assert planned == sorted(number_of(row) for row in rows)
