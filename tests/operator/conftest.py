"""A home whose operator page is served, with the processes of a busy host made up; tests do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.prepared_home import PreparedHome, copy_of
from tests.operator.served_home import ServedOperator, busy_host, operator_of


@pytest.fixture(scope="session")
def busy(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedOperator]:
    """The page of a busy CA host."""
    home = copy_of(prepared, tmp_path_factory.mktemp("busy") / "copy")
    home.sealmint("run", "start", 1)
    home.sealmint("crl", "publish")
    with busy_host(home.path / "run" / "control"), operator_of(home.path) as served:
        yield served
