"""The prepared home, once a session, and its copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.prepared_home import PreparedHome, copy_of, make_template


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """The home that is copied; tests must not change it."""
    directory = tmp_path_factory.getbasetemp() / "prepared"
    return PreparedHome(directory) if directory.exists() else make_template(directory)


@pytest.fixture
def home(prepared: PreparedHome, tmp_path: Path) -> PreparedHome:
    """A copy of the prepared home: run 1 is planned, nothing is issued."""
    return copy_of(prepared, tmp_path / "copy")
