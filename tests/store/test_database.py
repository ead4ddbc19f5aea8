"""Transactions: kept whole or not at all; what the database refuses comes as one of our errors."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select

from engine.errors import ConfigurationInvalid, StoreError
from engine.store.database import Store, open_store
from engine.store.schema import serial_claim


def claims(store: Store) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(serial_claim)).scalar_one())


def claim(store: Store, serial: bytes = b"s") -> None:
    with store.write() as connection:
        connection.execute(insert(serial_claim).values(serial=serial, item_id=1))


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()])
def test_rolled_back_transaction_leaves_nothing(store: Store, error: BaseException) -> None:
    with pytest.raises(type(error)), store.write() as connection:
        connection.execute(insert(serial_claim).values(serial=b"s", item_id=1))
        raise error
    assert claims(store) == 0
    claim(store)
    assert claims(store) == 1


def test_committed_rows_are_there_for_another_opening(store: Store, store_at: str) -> None:
    claim(store)
    other = open_store(store_at, must_exist=True)
    assert claims(other) == 1
    other.close()


def test_snapshot_does_not_move(store: Store) -> None:
    with store.read() as reading:
        assert reading.execute(select(serial_claim)).all() == []
        claim(store)
        assert reading.execute(select(serial_claim)).all() == []


def test_readers_do_not_wait_for_writers(store: Store) -> None:
    with store.write() as writing:
        writing.execute(insert(serial_claim).values(serial=b"s", item_id=1))
        assert claims(store) == 0  # what was committed
    assert claims(store) == 1


@pytest.mark.parametrize("way", ["read", "read only"])
def test_a_reader_writes_nothing(store: Store, store_at: str, way: str) -> None:
    opened = store if way == "read" and not store.is_sqlite else open_store(store_at, read_only=True)
    with pytest.raises(StoreError, match=r"readonly|read-only"), opened.read() as connection:
        connection.execute(insert(serial_claim).values(serial=b"s", item_id=1))
    opened.close()
    assert claims(store) == 0


def test_duplicate_is_a_store_error(store: Store) -> None:
    claim(store)
    with pytest.raises(StoreError, match=r"must be unique.*serial_claim"):
        claim(store)


@pytest.mark.parametrize("url", ["no url", "nosuchdatabase://x", "postgresql+nosuchdriver://user:hidden@x/y"])
def test_url_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"store\.url") as caught:
        open_store(url)
    assert "hidden" not in str(caught.value)
