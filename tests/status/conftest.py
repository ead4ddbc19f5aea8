"""The store that these tests write to: empty, or a copy of one whose certificates are issued."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.database import open_store
from tests.cli.prepared_home import PreparedHome, copy_of
from tests.status import ocsp_home
from tests.status.issued import Issued, issue
from tests.store_fixture import migrated_file, store, store_url

__all__ = ["migrated_file", "store"]


@pytest.fixture(scope="session")
def issued_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with some entities whose certificates are all good; tests copy it."""
    path = tmp_path_factory.mktemp("issued") / "store.sqlite"
    shutil.copy(migrated_file, path)
    store = open_store(store_url(path))
    issue(store)
    store.close()
    return path


@pytest.fixture
def issued(issued_file: Path, tmp_path: Path) -> Iterator[Issued]:
    """A copy of it, and a hand that does acts."""
    path = tmp_path / "issued.sqlite"
    shutil.copy(issued_file, path)
    opened = open_store(store_url(path))
    yield Issued(opened)
    opened.close()


@pytest.fixture(scope="session")
def issued_home(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> ocsp_home.OcspHome:
    """The prepared home with its certificates issued; tests copy it."""
    home = copy_of(prepared, tmp_path_factory.mktemp("issued-home") / "copy")
    ocsp_home.issue(home)
    return ocsp_home.OcspHome(home)
