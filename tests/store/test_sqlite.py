"""The record in a file: durable, refused by our errors, and never made anew by accident."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from engine.errors import HomeUnusable, StoreError
from engine.store import sqlite
from engine.store.database import Store, open_store
from tests.store.test_database import claim, claims
from tests.store_fixture import store_url


def test_commits_are_durable(sqlite_store: Store) -> None:
    with sqlite_store.write() as writing:
        pragmas = {
            name: writing.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2: FULL


def test_locked_store_is_a_store_error(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 1)
    impatient = open_store(store_url(tmp_path / "store.sqlite"))
    with sqlite_store.write(), pytest.raises(StoreError, match=r"store\.sqlite: .*locked"):
        claim(impatient)
    claim(impatient)
    impatient.close()


def test_read_only_store_is_a_store_error(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="readonly"):
        claim(sqlite_store)


def test_full_disk_is_a_store_error(sqlite_store: Store) -> None:
    with sqlite_store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        claim(sqlite_store, serial=bytes(100_000))
    assert claims(sqlite_store) == 0


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


def test_page_size_of_a_new_file(tmp_path: Path, migrated_file: Path) -> None:
    with sqlite3.connect(migrated_file) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (sqlite.PAGE_OCTETS,)
    connection.close()
