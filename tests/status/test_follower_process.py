"""The follower as a process: killed at any moment, refused beside another, and told to stop."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.cli.opening import open_context
from engine.status.follower import Follower
from engine.status.status_store import StatusReader
from engine.store.schema import CertificateState
from engine.store.status_changes import last_change
from tests.cli.prepared_home import COMPANIES, copy_of
from tests.status.ocsp_authority import contents
from tests.status.ocsp_home import OcspHome, RunningService, opened

SEED = 20261123
IN_USE = 5
"""Exit code of a home that another process is at work in."""


@pytest.fixture
def home(issued_home: OcspHome, tmp_path: Path) -> OcspHome:
    return OcspHome(copy_of(issued_home.home, tmp_path / "copy"))


@contextmanager
def following(home: OcspHome) -> Iterator[RunningService]:
    with home.service("follower") as follower:
        assert follower.wait_until(lambda: follower.has_said("following"))
        yield follower


def is_caught_up(home: OcspHome, reader: StatusReader) -> bool:
    with opened(home.home) as store, store.read() as connection:
        return reader.freshness().sequence >= last_change(connection)


def test_killed_at_any_moment_it_goes_on_where_it_stood(home: OcspHome) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    with following(home):
        pass  # it built the store, and was killed
    with StatusReader(home.status_store) as reader:
        for _ in range(3):
            with following(home) as follower:
                for _ in range(chance.randint(1, 12)):
                    state = chance.choice(list(CertificateState))
                    home.act(chance.randint(1, COMPANIES), chance.randint(0, 1), state)
                follower.kill()
        with following(home) as follower:
            assert follower.wait_until(lambda: is_caught_up(home, reader))
            assert follower.stop() == 0
    with open_context(home.path) as context:
        again = Follower(context, home.path / "again")
        assert again.rebuild() == COMPANIES
        again.close()
    assert contents(home.path / "again") == contents(home.status_store)


def test_a_withdrawal_needs_no_token(home: OcspHome) -> None:
    assert home.pre_sign() == 0
    serial = home.serials(3)[0]
    with following(home) as follower, StatusReader(home.status_store) as reader:
        now = reader.freshness().written_at
        assert follower.wait_until(lambda: reader.presigned(0, serial, now) is not None)
        home.home.hsm.fail_one_in("C_OpenSession", 0xE0, 1)
        home.act(3, 0, CertificateState.REVOKED)
        assert follower.wait_until(lambda: reader.presigned(0, serial, now) is None)
        standing = reader.standing(0, serial)
        assert standing is not None
        assert standing.state is CertificateState.REVOKED


def test_it_is_alone_at_the_store(home: OcspHome) -> None:
    """Neither a second one nor a rebuild may take the store away from under it."""
    with following(home):
        with home.service("follower") as second:
            assert second.process.wait() == IN_USE
            assert "another process is at work here" in second.said[-1]["message"]
        assert home.home.look("ocsp", "rebuild", code=IN_USE).error["error"] == "HomeUnusable"
    assert home.home.look("ocsp", "rebuild").json["cards"] == COMPANIES
