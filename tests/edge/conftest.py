"""One origin and one edge for the tests of a module; each test asks for targets of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.running_edge import Edge, running_edge
from tests.edge.stand_in_origin import Origin, echo, running_origin


@pytest.fixture(scope="module")
def running() -> Iterator[Origin]:
    with running_origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def edge(running: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running_edge(tmp_path_factory.mktemp("edge"), running.place, running.place) as made:
        yield made


@pytest.fixture
def origin(running: Origin) -> Origin:
    """The origin, with nothing asked, answering with what it was asked."""
    running.asked.clear()
    running.answer = echo
    return running
