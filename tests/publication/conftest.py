"""A store to publish into, and a clock that is moved by hand."""

from __future__ import annotations

from datetime import datetime

import pytest

from engine.clock import TAIPEI, SetClock
from engine.publication.publishing import Publishing
from engine.store.database import Store
from tests.store_fixture import migrated_file, store

__all__ = ["migrated_file", "store"]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 12, 15, 10, 30, tzinfo=TAIPEI))


@pytest.fixture
def publishing(store: Store, clock: SetClock) -> Publishing:
    return Publishing(store, clock, "account officer")
