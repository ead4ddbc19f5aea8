"""The sample site in this process, with a clock that is moved, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from quart.typing import TestClientProtocol as Client
from quart_trio import QuartTrio

from engine.clock import SetClock
from engine.status.status_store import StatusReader
from tests.judges.toy_authority import NOW
from tests.repository.sample_site import SampleSite


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSite:
    """The copies of a public host, made once; tests do not change them."""
    made = SampleSite(tmp_path_factory.mktemp("site"), SetClock(NOW))
    made.fill()
    return made


@pytest.fixture(scope="session")
def reader(sample: SampleSite) -> Iterator[StatusReader]:
    with StatusReader(sample.status.directory) as opened:
        yield opened


@pytest.fixture(scope="session")
def app(sample: SampleSite, reader: StatusReader) -> QuartTrio:
    return sample.application(reader)


@pytest.fixture
def client(app: QuartTrio) -> Client:
    return app.test_client()
