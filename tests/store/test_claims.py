"""What must be unique is unique by the database; what was not used is given back, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from engine.errors import StoreError
from engine.kinds import Rank
from engine.store.certificates import Reserved, reserve
from engine.store.claims import (
    ASKED_AT_ONCE,
    discard_plan,
    held_primary_cards,
    release_claims_of_aborted,
    release_primary_card,
    subject_holder,
    taken,
)
from engine.store.database import Store
from engine.store.plans import PlannedCard, append_rejects, append_unit, claim_keys
from engine.store.runs import RunState
from engine.store.schema import card as card_table
from engine.store.schema import (
    card_number_claim,
    certificate_status,
    crl_partition,
    item,
    metadata,
    primary_card_claim,
    public_key_claim,
    reservation,
    serial_claim,
    subject_claim,
    subscriber_number_claim,
)
from engine.store.schema import entity as entity_table
from engine.store.work_units import Lease, abort_unreserved
from tests.store.plans import (
    NOT_AFTER,
    NOW,
    append_plan,
    card,
    complete_unit,
    contents,
    count,
    entity,
    issue_run,
    key,
    lease,
    make_run,
    plan,
    reserve_unit,
)


def append_one(store: Store, planned: PlannedCard) -> None:
    with store.write() as connection:
        append_plan(connection, make_run(connection), [planned])


@pytest.mark.cps("3.2.1")
def test_serial_is_unique(store: Store) -> None:
    with store.write() as connection:
        reserve(connection, [Reserved(1, b"serial", 0, b"tbs 1")])
    with pytest.raises(StoreError, match="serial_claim"), store.write() as connection:
        reserve(connection, [Reserved(2, b"other", 0, b"tbs 2"), Reserved(3, b"serial", 0, b"tbs 3")])
    assert (count(store, serial_claim), count(store, reservation)) == (1, 1)


def test_item_has_one_tbs(store: Store) -> None:
    with store.write() as connection:
        reserve(connection, [Reserved(1, b"one", 0, b"tbs")])
    with pytest.raises(StoreError, match="reservation"), store.write() as connection:
        reserve(connection, [Reserved(1, b"two", 0, b"other")])
    assert count(store, serial_claim) == 1


def test_public_key_is_unique_on_an_occasion(store: Store) -> None:
    run_id = plan(store)
    with store.read() as connection:
        known = connection.execute(select(public_key_claim)).first()
    assert known is not None
    with pytest.raises(StoreError, match="public_key_claim"), store.write() as connection:
        again = key("new")._replace(key_digest=known.key_digest)
        _, claims = append_unit(connection, run_id, 1, [(1, again)])
        claim_keys(connection, claims)
    with store.write() as connection:  # the room that choice 4 needs
        connection.execute(
            insert(public_key_claim).values(key_digest=known.key_digest, occasion=1, item_id=known.item_id)
        )


def test_card_number_is_unique(store: Store) -> None:
    append_one(store, card(entity(1), "MG1"))
    before = contents(store)
    same_number = card(entity(2), "MG2")._replace(number="MG1")
    with pytest.raises(StoreError, match="card_number_claim"):
        append_one(store, same_number)
    assert contents(store) == before


@pytest.mark.cps("1.3.5.1")
def test_entity_has_one_primary_card_and_any_number_of_secondary_ones(store: Store) -> None:
    with pytest.raises(StoreError, match="primary_card_claim"), store.write() as connection:
        append_plan(connection, make_run(connection), [card(entity(1), "MG1"), card(entity(1), "MG2")])
    assert count(store, card_table) == 0
    secondary = Rank.SECONDARY.value
    with store.write() as connection:
        cards = [card(entity(1), f"MG{n}", rank=secondary if n else "primary") for n in range(4)]
        append_plan(connection, make_run(connection), cards)
    assert count(store, card_table) == 4


@pytest.mark.cps("3.1.5")
def test_subscriber_number_is_unique(store: Store) -> None:
    append_one(store, card(entity(1, number="0000000007"), "MG1"))
    with pytest.raises(StoreError, match="subscriber_number_claim"):
        append_one(store, card(entity(2, number="0000000007"), "MG2"))


@pytest.mark.cps("3.1.5")
def test_subject_without_a_number_is_unique(store: Store) -> None:
    append_one(store, card(entity(1, number=None), "MG1", claims_subject=True))
    with pytest.raises(StoreError, match="subject_claim"):
        append_one(store, card(entity(2, number=None), "MG2", claims_subject=True))
    with store.read() as connection:
        (claim,) = connection.execute(select(subject_claim)).all()
        assert claim.entity_id == 1
        assert subject_holder(connection, claim.subject_digest) == 1
        assert subject_holder(connection, b"another") is None


def test_entity_comes_once(store: Store) -> None:
    append_one(store, card(entity(1), "MG1"))
    with pytest.raises(StoreError, match=r"unique.*entity"):
        append_one(store, card(entity(2)._replace(identifier="00000001"), "MG2"))


@pytest.mark.parametrize("asked", [0, 1, ASKED_AT_ONCE, 3 * ASKED_AT_ONCE + 1])
def test_taken_values_are_told_however_many_are_asked_for(store: Store, asked: int) -> None:
    with store.write() as connection:
        rows = [{"number": f"MG{n}", "card_id": n} for n in range(0, 10_000, 7)]
        connection.execute(insert(card_number_claim), rows)
    with store.read() as connection:
        wanted = [f"MG{n}" for n in range(asked)]
        found = taken(connection, card_number_claim, "number", wanted)
        assert found == {f"MG{n}" for n in range(0, asked, 7)}
        assert taken(connection, public_key_claim, "key_digest", [b"\x00"]) == set()


@pytest.mark.cps("1.3.5.1")
def test_primary_card_is_held_from_planning_until_its_last_certificate_expires(store: Store) -> None:
    run_id = plan(store, 1)
    (entity_id,) = ids = [1000 * run_id]

    def held(at: object = NOW) -> set[int]:
        with store.read() as connection:
            return set(held_primary_cards(connection, [*ids, 5], at))  # type: ignore[arg-type]  # a time

    assert held() == {entity_id}  # planned
    issue_run(store, run_id)
    assert held() == {entity_id}  # issued
    with store.write() as connection:  # one of its two certificates ends earlier
        first = select(item.c.id).order_by(item.c.id).limit(1).scalar_subquery()
        connection.execute(
            update(certificate_status).where(certificate_status.c.item_id == first).values(not_after=0)
        )
    assert held(NOT_AFTER) == {entity_id}
    assert held(NOT_AFTER + timedelta(microseconds=1)) == set()  # expired
    with store.write() as connection:
        release_primary_card(connection, entity_id, 999)  # another card's release is not this one's
    assert held() == {entity_id}
    with store.write() as connection:
        (claim,) = connection.execute(select(primary_card_claim)).all()
        release_primary_card(connection, entity_id, claim.card_id)
    assert held() == set()  # released after revocation


def test_suspended_primary_card_is_held(store: Store) -> None:
    run_id = plan(store, 1)
    issue_run(store, run_id)
    with store.write() as connection:
        connection.execute(update(certificate_status).values(state=1))
        assert set(held_primary_cards(connection, [1000 * run_id], NOW)) == {1000 * run_id}


def test_expired_primary_card_is_replaced(store: Store) -> None:
    run_id = plan(store, 1)
    issue_run(store, run_id)
    append_one(store, card(entity(1000 * run_id, is_new=False), "MG-successor"))
    with store.read() as connection:
        (claim,) = connection.execute(select(primary_card_claim)).all()
        number = connection.execute(
            select(card_table.c.number).where(card_table.c.id == claim.card_id)
        ).scalar_one()
    assert number == "MG-successor"
    assert count(store, entity_table) == 1


def test_known_entity_gets_the_name_of_today(store: Store) -> None:
    append_one(store, card(entity(1), "MG1"))
    renamed = entity(1, is_new=False)._replace(name="new name", county="臺北市")
    append_one(store, card(renamed, "MG2"))
    with store.read() as connection:
        (row,) = connection.execute(select(entity_table)).all()
    assert (row.name, row.county, row.subscriber_number) == ("new name", "臺北市", "0000000001")


def test_abort_gives_back_exactly_what_was_not_reserved(store: Store) -> None:
    """Of four cards: completed, reserved, half of its keys reserved, and untouched."""
    with store.write() as connection:
        run_id = make_run(connection)
        cards = [card(entity(n), f"MG{n}") for n in range(1, 5)]
        append_plan(connection, run_id, cards[:2], unit_size=2)
        append_plan(connection, run_id, cards[2:], unit_size=1)
    other = plan(store, 2)
    complete_unit(store, reserved(store, run_id))
    reserved(store, run_id)
    reserved(store, run_id)
    with store.write() as connection:
        assert abort_unreserved(connection, run_id) == 3
        release_claims_of_aborted(connection, run_id)
    with store.read() as connection:
        numbers = set(connection.execute(select(card_number_claim.c.number)).scalars())
        holders = set(connection.execute(select(primary_card_claim.c.entity_id)).scalars())
        keys = set(connection.execute(select(public_key_claim.c.item_id)).scalars())
        others = set(connection.execute(select(item.c.id).where(item.c.run_id == other)).scalars())
    assert holders - {1000 * other, 1000 * other + 1} == {1, 2, 3}
    assert {number for number in numbers if len(number) < 5} == {"MG1", "MG2", "MG3"}
    assert keys == {1, 2, 3, 4, 5} | others


def reserved(store: Store, run_id: int) -> Lease:
    held = lease(store, run_id, holder=f"b{run_id}", now=NOW)
    reserve_unit(store, held)
    return held


def test_discarded_plan_leaves_no_trace(store: Store) -> None:
    kept = plan(store, 2)
    issue_run(store, kept)
    before = contents(store)
    with store.write() as connection:
        run_id = make_run(connection, RunState.PLANNING)
        known = entity(1000 * kept, is_new=False)
        cards = [
            card(known, "MG1", rank="secondary"),
            card(entity(1), "MG2"),
            card(entity(2, number=None), "MG3", claims_subject=True),
        ]
        append_plan(connection, run_id, cards)
        append_rejects(connection, run_id, [("register", 1, "x", "not-json", None, "broken")])
    assert contents(store) != before
    with store.write() as connection:
        discard_plan(connection, run_id)
    assert contents(store) == before


def test_discarded_plan_gives_its_place_in_a_new_partition_back(store: Store) -> None:
    discarded = plan(store, 3, state=RunState.PLANNING)
    with store.write() as connection:
        discard_plan(connection, discarded)
    left = {name for name, rows in contents(store).items() if rows}
    assert left - {"status_change_head"} == {"crl_partition"}  # the feed's head is there from the first
    plan(store, 1)
    with store.read() as connection:
        (partition,) = connection.execute(select(crl_partition)).all()
    assert (partition.number, partition.allotted) == (1, 2)


def test_every_claim_table_was_looked_at() -> None:
    tested = {serial_claim, public_key_claim, card_number_claim, primary_card_claim, subject_claim}
    tested.add(subscriber_number_claim)
    assert {table.name for table in tested} == {name for name in metadata.tables if name.endswith("_claim")}
