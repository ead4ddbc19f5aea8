"""Leases: one holder of a name, and one who lost it changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from engine.errors import LeaseLost
from engine.store.database import Store
from engine.store.leases import Lease, check_lease, give_back, take_lease
from tests.store.plans import NOW

TIME = timedelta(seconds=30)


def take(store: Store, holder: str, now: datetime, name: str = "crl/1") -> Lease | None:
    with store.write() as connection:
        return take_lease(connection, name, holder=holder, now=now, until=now + TIME)


def is_held(store: Store, lease: Lease) -> bool:
    try:
        with store.write() as connection:
            check_lease(connection, lease)
    except LeaseLost:
        return False
    return True


def taken(store: Store, holder: str, now: datetime) -> Lease:
    lease = take(store, holder, now)
    assert lease is not None
    return lease


def test_another_waits_until_the_very_end(store: Store) -> None:
    first = taken(store, "a", NOW)
    assert take(store, "b", NOW + TIME - timedelta(microseconds=1)) is None
    assert is_held(store, first)
    second = taken(store, "b", NOW + TIME)
    assert second.fence > first.fence
    assert (is_held(store, first), is_held(store, second)) == (False, True)


def test_the_holder_renews_with_the_same_fence(store: Store) -> None:
    first = taken(store, "a", NOW)
    assert taken(store, "a", NOW + TIME / 2) == first
    assert take(store, "b", NOW + TIME) is None
    assert taken(store, "a", NOW + 5 * TIME) == first  # late, but nobody came


def test_one_that_was_given_back_is_free_at_once(store: Store) -> None:
    first = taken(store, "a", NOW)
    with store.write() as connection:
        give_back(connection, first, NOW)
    assert taken(store, "b", NOW).holder == "b"


def test_one_that_was_lost_is_not_given_back(store: Store) -> None:
    first = taken(store, "a", NOW)
    taken(store, "b", NOW + TIME)
    with store.write() as connection:
        give_back(connection, first, NOW + TIME)
    assert take(store, "c", NOW + TIME) is None


def test_names_do_not_meet(store: Store) -> None:
    assert take(store, "a", NOW, "crl/1") is not None
    assert take(store, "b", NOW, "crl/2") is not None


def test_a_lease_that_was_never_taken_is_not_held(store: Store) -> None:
    with pytest.raises(LeaseLost, match="lease crl/9"), store.write() as connection:
        check_lease(connection, Lease("crl/9", "a", 1))
