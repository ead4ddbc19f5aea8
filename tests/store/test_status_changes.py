"""The change feed: gapless, in the order of the commits, readable from anywhere."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from engine.errors import StoreError
from engine.store.database import Store
from engine.store.schema import status_change_head, to_microseconds
from engine.store.status_changes import (
    ChangeKind,
    StatusChange,
    append_changes,
    changes_after,
    last_change,
    move_reader,
    reader_position,
)
from tests.store.plans import NOW


def test_numbers_go_on_over_transactions(store: Store) -> None:
    with store.write() as connection:
        assert append_changes(connection, ChangeKind.ISSUED, [5], NOW) == 1
    with store.write() as connection:
        assert append_changes(connection, ChangeKind.STATUS, [9, 8], NOW) == 3
        assert append_changes(connection, ChangeKind.ANSWERED, [2], NOW) == 4
    moment = to_microseconds(NOW)
    with store.read() as connection:
        assert last_change(connection) == 4
        assert changes_after(connection, 1, 2) == [
            StatusChange(2, ChangeKind.STATUS, 9, moment),
            StatusChange(3, ChangeKind.STATUS, 8, moment),
        ]
        assert [change.sequence for change in changes_after(connection, 0, 10)] == [1, 2, 3, 4]
        assert changes_after(connection, 4, 10) == []


def test_what_is_rolled_back_leaves_no_gap(store: Store) -> None:
    with pytest.raises(StoreError), store.write() as connection:
        append_changes(connection, ChangeKind.STATUS, [1, 2, 3], NOW)
        raise StoreError("undone")
    with store.write() as connection:
        assert append_changes(connection, ChangeKind.STATUS, [4], NOW) == 1


def test_an_empty_feed_ends_at_nought(store: Store) -> None:
    with store.write() as connection:
        assert last_change(connection) == 0
        assert append_changes(connection, ChangeKind.STATUS, [], NOW) == 0
        connection.execute(delete(status_change_head))
        assert last_change(connection) == 0
        assert append_changes(connection, ChangeKind.STATUS, [1], NOW) == 1


def test_each_reader_has_its_place(store: Store) -> None:
    with store.write() as connection:
        assert reader_position(connection, "pre-signer") == 0
        move_reader(connection, "pre-signer", 7)
        move_reader(connection, "other", 3)
        move_reader(connection, "pre-signer", 9)
    with store.read() as connection:
        assert reader_position(connection, "pre-signer") == 9
        assert reader_position(connection, "other") == 3
