"""The record that accounts are in, and a clock that is moved by hand."""

from __future__ import annotations

from datetime import datetime

import pytest

from engine.clock import TAIPEI, SetClock
from tests.store_fixture import migrated_file, store

__all__ = ["migrated_file", "store"]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 9, 15, 10, 30, tzinfo=TAIPEI))
