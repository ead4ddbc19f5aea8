"""The toy feed for a test."""

from __future__ import annotations

import pytest

from tests.feed_pull.toy_feed import ToyFeed


@pytest.fixture
def feed() -> ToyFeed:
    return ToyFeed()
