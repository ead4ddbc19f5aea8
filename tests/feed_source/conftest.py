"""A home with everything that the feed is of; tests copy it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.status.origins import Verb
from tests.cli.prepared_home import PreparedHome, copy_of
from tests.feed_source.source_home import ACCEPTED, FeedSource, feed_source


@pytest.fixture(scope="session")
def published(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """The run is done, its answers are signed, some certificates accepted, CRLs published."""
    home = copy_of(prepared, tmp_path_factory.mktemp("published") / "copy")
    home.sealmint("run", "start", 1, "--workers", 1)
    with feed_source(home) as source:
        for item in range(1, ACCEPTED + 1):
            source.act(Verb.ACCEPT, item, "content-confirmed")
    home.sealmint("ocsp", "presign", "--signers", 1)
    home.sealmint("crl", "publish")
    return home


@pytest.fixture
def source(published: PreparedHome, tmp_path: Path) -> Iterator[FeedSource]:
    with feed_source(copy_of(published, tmp_path / "copy")) as opened:
        yield opened
