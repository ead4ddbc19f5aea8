"""The stores that these tests read and write."""

from __future__ import annotations

import pytest

from tests.judges.toy_authority import ToyAuthority
from tests.responders.synthetic_status import SyntheticStatus
from tests.store_fixture import migrated_file, store

__all__ = ["migrated_file", "store", "synthetic_status"]


@pytest.fixture(scope="session")
def synthetic_status(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStatus:
    """A status store of a toy CA; only read."""
    made = SyntheticStatus(tmp_path_factory.mktemp("status"), ToyAuthority())
    made.build()
    return made
