"""An open store at the newest revision, copied from one that is migrated once a session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.database import Store, open_store
from engine.store.migration import migrate


def store_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "store.sqlite"
    store = open_store(store_url(path))
    migrate(store)
    store.close()
    return path


@pytest.fixture
def store(migrated_file: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "store.sqlite"
    shutil.copy(migrated_file, path)
    opened = open_store(store_url(path))
    yield opened
    opened.close()
