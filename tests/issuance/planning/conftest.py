"""The desk, and what is expensive to make and made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.clock import SetClock
from engine.home import Home
from engine.issuance.card_exchange import key_checks
from engine.issuance.development_card_centre import CardCentre, open_card_centre
from engine.issuance.development_card_centre.public_keys import synthetic_public_keys
from engine.store.database import Store
from engine.x509.profiles import ProfileSet, load_profiles
from tests.issuance.planning.desk import Desk
from tests.store_fixture import migrated_file, store

__all__ = ["migrated_file", "store"]

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def centre(tmp_path_factory: pytest.TempPathFactory) -> CardCentre:
    return open_card_centre(tmp_path_factory.mktemp("centre"), SetClock(START))


@pytest.fixture(scope="session")
def public_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[bytes]]:
    """Synthetic public keys, every one taken once in the whole session."""
    source = synthetic_public_keys(tmp_path_factory.mktemp("primes"), 2, 0)
    yield source
    source.close()


@pytest.fixture(scope="session")
def profiles() -> ProfileSet:
    return load_profiles()


class _Threads(ThreadPoolExecutor):
    """Starting a process costs half a second a plan; that processes check keys as well is tested elsewhere."""

    def __init__(self, processes: int, *_: object) -> None:
        super().__init__(processes)


@pytest.fixture
def desk(
    tmp_path: Path,
    store: Store,
    centre: CardCentre,
    public_keys: Iterator[bytes],
    profiles: ProfileSet,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    monkeypatch.setattr(key_checks, "ProcessPoolExecutor", _Threads)
    home = Home(tmp_path / "home")
    home.create()
    return Desk(tmp_path, home, store, SetClock(START), profiles, centre, public_keys)
