"""Partitions and names."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from engine.store.database import Store
from engine.store.plans import allot_partition, entities_by_identifier, name_of, next_id
from engine.store.schema import crl_partition, run
from tests.store.plans import append_plan, card, entity, make_run, plan, uri_of


def allot(store: Store, counts: list[int], *, issuer: bytes = b"CA key", size: int = 10) -> list[int]:
    with store.write() as connection:
        return [allot_partition(connection, issuer=issuer, count=n, size=size, uri_of=uri_of) for n in counts]


@pytest.mark.parametrize(
    ("counts", "partitions", "allotted"),
    [
        ([4, 4], [1, 1], [8]),
        ([5, 5, 1], [1, 1, 2], [10, 1]),  # filled to the last place
        ([4, 4, 4], [1, 1, 2], [8, 4]),
        ([4, 7, 4], [1, 2, 3], [4, 7, 4]),  # only the newest one is filled
        ([11, 1], [1, 2], [11, 1]),
    ],
)
def test_partitions_are_filled_to_their_size(
    store: Store, counts: list[int], partitions: list[int], allotted: list[int]
) -> None:
    assert allot(store, counts) == partitions
    with store.read() as connection:
        rows = connection.execute(select(crl_partition).order_by(crl_partition.c.id)).all()
    assert [row.allotted for row in rows] == allotted
    assert [(row.number, row.uri, row.complete_uri) for row in rows] == [
        (n, *uri_of(n)) for n in sorted(set(partitions))
    ]


def test_every_ca_key_has_partitions_of_its_own(store: Store) -> None:
    assert allot(store, [1], issuer=b"one") + allot(store, [1], issuer=b"two") == [1, 2]
    assert allot(store, [1], issuer=b"one") == [1]
    with store.read() as connection:
        assert list(connection.execute(select(crl_partition.c.number)).scalars()) == [1, 1]


def test_numbers_go_on_after_the_highest(store: Store) -> None:
    with store.read() as connection:
        assert next_id(connection, run) == 1
    plan(store, 0)
    with store.read() as connection:
        assert next_id(connection, run) == 2


def test_known_entities_and_their_names(store: Store) -> None:
    branch = entity(2, number="0000000002")._replace(kind="branch", unit_name="分公司", name="另一名")
    business = entity(3)._replace(kind="business", identifier="00000001", name="商號")
    with store.write() as connection:
        cards = [card(entity(1), "MG1"), card(branch, "MG2"), card(business, "MG3")]
        append_plan(connection, make_run(connection), cards)
    with store.read() as connection:
        assert entities_by_identifier(connection, "company", ["00000001", "00000002"]) == {
            "00000001": (1, "0000000001")
        }
        assert name_of(connection, "00000001") == "name"  # the company's, not the business's of that number
        assert name_of(connection, "00000002") is None  # a branch has no branches


def test_a_name_is_found_by_the_index_on_numbers(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        used = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT name FROM entity WHERE kind IN ('company', 'limited-partnership')"
            " AND identifier = '1' ORDER BY id DESC LIMIT 1"
        ).all()
    assert any("uq_entity_identifier" in row[3] for row in used)
