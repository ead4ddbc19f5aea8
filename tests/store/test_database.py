"""Transactions: kept whole or not at all; what the database refuses comes as one of our errors."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from engine.errors import ConfigurationInvalid, HomeUnusable, StoreError
from engine.store import database
from engine.store.database import Store, open_store
from engine.store.schema import serial_claim
from tests.store_fixture import store_url


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


def test_committed_rows_are_there_for_another_opening(store: Store, tmp_path: Path) -> None:
    claim(store)
    other = open_store(store_url(tmp_path / "store.sqlite"), must_exist=True)
    assert claims(other) == 1
    other.close()


def test_commits_are_durable_and_readers_do_not_wait_for_writers(store: Store) -> None:
    with store.write() as writing:
        writing.execute(insert(serial_claim).values(serial=b"s", item_id=1))
        assert claims(store) == 0  # a reader sees what was committed, and is not blocked
        pragmas = {
            name: writing.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2: FULL
    assert claims(store) == 1


def test_snapshot_does_not_move(store: Store) -> None:
    with store.read() as reading:
        assert reading.execute(select(serial_claim)).all() == []
        claim(store)
        assert reading.execute(select(serial_claim)).all() == []


def test_duplicate_is_a_store_error(store: Store) -> None:
    claim(store)
    with pytest.raises(StoreError, match=r"must be unique.*serial_claim\.serial"):
        claim(store)


def test_locked_store_is_a_store_error(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    impatient = open_store(store_url(tmp_path / "store.sqlite"))
    with store.write(), pytest.raises(StoreError, match=r"store\.sqlite: .*locked"):
        claim(impatient)
    claim(impatient)
    impatient.close()


def test_read_only_store_is_a_store_error(store: Store) -> None:
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="readonly"):
        claim(store)


def test_full_disk_is_a_store_error(store: Store) -> None:
    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        claim(store, serial=bytes(100_000))
    assert claims(store) == 0


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_file_that_is_no_store_is_a_store_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)
    opened = open_store(store_url(path), must_exist=True)
    with pytest.raises(StoreError, match=r"not a database|no such table"):
        claim(opened)
    opened.close()


def test_path_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").mkdir()
    opened = open_store(store_url(tmp_path / "store.sqlite"))
    with pytest.raises(StoreError, match="unable to open"):
        claim(opened)
    opened.close()


def test_missing_directory_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match="does not exist"):
        open_store(store_url(tmp_path / "gone" / "store.sqlite"))


def test_directory_that_is_not_writable_is_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(HomeUnusable, match="not writable"):
        open_store(store_url(tmp_path / "store.sqlite"))


def test_store_that_was_taken_away_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match=r"store\.sqlite: the store is not there"):
        open_store(store_url(tmp_path / "store.sqlite"), must_exist=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["no url", "nosuchdatabase://x", "postgresql+nosuchdriver://user:hidden@x/y"])
def test_url_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"store\.url") as caught:
        open_store(url)
    assert "hidden" not in str(caught.value)


def test_page_size_of_a_new_file(tmp_path: Path, migrated_file: Path) -> None:
    with sqlite3.connect(migrated_file) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (database.PAGE_OCTETS,)
    connection.close()
