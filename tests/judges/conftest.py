"""The toy authority and its server, one for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.judges.toy_authority import ToyAuthority
from tests.judges.toy_server import ToyServer, serving


@pytest.fixture(scope="session")
def toy() -> ToyAuthority:
    return ToyAuthority()


@pytest.fixture(scope="session")
def server() -> Iterator[ToyServer]:
    with serving() as running:
        yield running
