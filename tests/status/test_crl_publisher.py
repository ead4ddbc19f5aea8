"""What the CRL publisher decides, without its process; `test_crl_process.py` has the process."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from sqlalchemy import select, update

from engine.control.server import ControlServer
from engine.errors import SignerFailed, SignerUnavailable, StoreError
from engine.json_log import Log
from engine.metrics.registry import Metrics
from engine.status import crl_generation, crl_publisher, daily_suspension
from engine.status.crl_generation import CrlGenerator
from engine.status.crl_publisher import CrlPublisher, Rest
from engine.status.daily_suspension import suspend_every_day
from engine.status.service import Service, StandardInput
from engine.store.database import Store
from engine.store.leases import take_lease
from engine.store.schema import crl_issue, crl_partition, crl_scope
from tests.status.crl_authority import DAY, CrlAuthority

COMPLETE, FIRST, SECOND = 0, 1, 2
MINUTE = timedelta(minutes=1)


class Lines:
    """A log that is kept; who looks at it may be called with each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.told: Callable[[str], None] = lambda event: None

    def info(self, event: str, **particulars: Any) -> None:
        self.lines.append((event, particulars))
        self.told(event)

    error = info

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


class Publishing:
    """A publisher at work for a CA."""

    def __init__(self, ca: CrlAuthority, generator: CrlGenerator | None = None) -> None:
        self.ca = ca
        self.log = Lines()
        self.stop = trio.Event()
        self.service = Service(
            "crl-publisher",
            ca.context,
            cast("Log", self.log),
            self.stop,
            argparse.Namespace(),
            ControlServer(ca.home.path, "crl-publisher", Metrics()),
            StandardInput(),
        )
        self.publisher = CrlPublisher(self.service, generator or ca.generator)

    async def round(self) -> list[int]:
        """Look and publish once; return the partitions (0: complete) of what came out."""
        before = len(self.ca.issues())
        await trio.to_thread.run_sync(self.publisher.look)
        await self.publisher._publish_due()
        with self.ca.store.read() as connection:
            partitions = connection.execute(
                select(crl_scope.c.partition_id)
                .join(crl_issue, crl_issue.c.scope_id == crl_scope.c.id)
                .order_by(crl_issue.c.id)
            ).scalars()
            return sorted(list(partitions)[before:])


@pytest.fixture
def ca(store: Store, tmp_path: Path) -> CrlAuthority:
    return CrlAuthority(store, tmp_path)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_SECONDS", "FIRST_REST"):
        monkeypatch.setattr(crl_publisher, name, 0.0)
    monkeypatch.setattr(daily_suspension, "POLL_SECONDS", 0.0)


@pytest.mark.cps("4.4.10")
async def test_every_scope_has_a_crl_every_day(ca: CrlAuthority) -> None:
    ca.issue(55)
    publishing = Publishing(ca)
    assert await publishing.round() == [COMPLETE, FIRST, SECOND]
    assert await publishing.round() == []
    ca.clock.move(DAY)
    assert await publishing.round() == [COMPLETE, FIRST, SECOND]
    assert await publishing.round() == []


async def test_nothing_is_published_of_a_store_without_certificates(ca: CrlAuthority) -> None:
    assert await Publishing(ca).round() == []


async def test_a_new_partition_has_its_crl_at_once(ca: CrlAuthority) -> None:
    ca.issue(1)
    publishing = Publishing(ca)
    await publishing.round()
    ca.issue(55)
    assert await publishing.round() == [SECOND]


async def test_a_change_brings_the_crls_of_its_partition_and_the_complete_one(ca: CrlAuthority) -> None:
    items = ca.issue(55)
    publishing = Publishing(ca)
    await publishing.round()
    ca.change(items[:1], 1)
    assert await publishing.round() == []
    ca.clock.move(4 * MINUTE)
    ca.change(items[1:2], 1)  # comes along
    assert await publishing.round() == []
    ca.clock.move(MINUTE)
    assert await publishing.round() == [COMPLETE, FIRST]
    assert set(ca.listed("1.crl")) == set(items[:2])
    ca.clock.move(DAY / 24)
    assert await publishing.round() == []


async def test_a_change_while_a_crl_is_made_waits_for_the_next(ca: CrlAuthority) -> None:
    ca.configure(on_change_minutes=0)
    items = ca.issue(1)
    changed: list[int] = []

    class Meanwhile(CrlAuthority):
        async def sign(self, key, algorithm, digests):  # type: ignore[no-untyped-def]  # as its base
            if digests and not changed:
                changed.append(items[1])
                self.change(items[1:2], 1)
            return await super().sign(key, algorithm, digests)

    publishing = Publishing(ca, Meanwhile(ca.store, ca.directory, ca.section, ca.clock).generator)
    assert await publishing.round() == [COMPLETE, FIRST]
    assert ca.listed("complete.crl") == {}, "it changed when this was being signed"
    assert set(ca.listed("1.crl")) == set(changed)
    assert await publishing.round() == [COMPLETE]
    assert set(ca.listed("complete.crl")) == set(changed)
    assert await publishing.round() == []


async def test_a_publisher_that_was_away_finds_what_waits(ca: CrlAuthority) -> None:
    items = ca.issue(55)
    await Publishing(ca).round()
    ca.change(items[-1:], 1)
    ca.clock.move(10 * MINUTE)
    assert await Publishing(ca).round() == [COMPLETE, SECOND]
    assert await Publishing(ca).round() == []


async def test_what_a_killed_publisher_recorded_is_put_in_place_by_the_next(
    ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca.issue(1)

    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(crl_generation, "put_in_place", killed)
        with pytest.raises(Killed):
            await Publishing(ca).round()
    assert len(ca.issues()) == 1
    assert not list(ca.crl_directory.rglob("*.crl"))
    await Publishing(ca).round()
    assert sorted(path.name for path in ca.crl_directory.rglob("*.crl")) == ["1.crl", "complete.crl"]
    assert len(ca.issues()) == 2, "one each"


async def test_what_another_host_published_is_not_published_again(ca: CrlAuthority) -> None:
    items = ca.issue(1)
    here, there = Publishing(ca), Publishing(ca)
    await here.round()
    ca.change(items[:1], 1)
    for one in (here, there):
        await trio.to_thread.run_sync(one.publisher.look)
    ca.clock.move(10 * MINUTE)
    assert await there.round() == [COMPLETE, FIRST]
    assert await here.round() == []
    assert here.publisher.due() == []


async def test_a_scope_that_cannot_be_published_does_not_keep_the_others(ca: CrlAuthority) -> None:
    ca.issue(55)
    with ca.store.write() as connection:
        no_file = "ldap://crl.example/cn=CA"
        connection.execute(update(crl_partition).where(crl_partition.c.id == 2).values(uri=no_file))
        connection.execute(update(crl_scope).where(crl_scope.c.partition_id == 2).values(uri=no_file))
    publishing = Publishing(ca)
    assert await publishing.round() == [COMPLETE, FIRST]
    (failed,) = [line for event, line in publishing.log.lines if event == "crl-failed"]
    assert failed["error"] == "ConfigurationInvalid"
    assert no_file in failed["message"]


async def test_a_scope_that_another_host_holds_is_tried_again(ca: CrlAuthority) -> None:
    ca.issue(1)
    with ca.store.write() as connection:
        take_lease(
            connection,
            f"crl/{ca.scopes()[FIRST].id}",
            holder="another host",
            now=ca.clock.now(),
            until=ca.clock.now() + MINUTE,
        )
    publishing = Publishing(ca)
    assert await publishing.round() == [COMPLETE]
    assert "crl-failed" not in publishing.log.events(), "no fault of anybody's"
    ca.clock.move(2 * MINUTE)
    assert await publishing.round() == [FIRST]


@pytest.mark.parametrize(
    ("error", "lines"),
    [(SignerUnavailable("the token is away"), 1), (StoreError("the record is busy"), 3)],
    ids=["token", "record"],
)
async def test_what_is_away_is_waited_for(error: Exception, lines: int, ca: CrlAuthority) -> None:
    """A token is tried every second or two, so the log has one line however long it is away."""
    ca.issue(1)
    failures = [error] * 3

    class Away(CrlAuthority):
        async def sign(self, key, algorithm, digests):  # type: ignore[no-untyped-def]  # as its base
            if failures:
                raise failures.pop()
            return await super().sign(key, algorithm, digests)

    publishing = Publishing(ca, Away(ca.store, ca.directory, ca.section, ca.clock).generator)

    def stop_when_all_are_out(event: str) -> None:
        if publishing.log.events().count("crl-published") == 2:
            publishing.stop.set()

    publishing.log.told = stop_when_all_are_out
    await publishing.publisher.run()
    assert publishing.log.events() == ["waiting"] * lines + ["crl-published"] * 2
    assert len(ca.issues()) == 2, "no number was used up on it"


async def test_a_token_that_refuses_for_good_ends_the_process(ca: CrlAuthority) -> None:
    ca.issue(1)

    async def refuse(*_: object) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        raise SignerFailed("CKR_PIN_LOCKED")

    with pytest.raises(SignerFailed):
        await Publishing(ca, CrlGenerator(ca.context, refuse)).publisher.run()


async def test_a_publisher_that_is_to_stop_finishes_what_is_in_hand(ca: CrlAuthority) -> None:
    ca.issue(55)

    class Stopping(CrlAuthority):
        async def sign(self, key, algorithm, digests):  # type: ignore[no-untyped-def]  # as its base
            publishing.stop.set()
            return await super().sign(key, algorithm, digests)

    publishing = Publishing(ca, Stopping(ca.store, ca.directory, ca.section, ca.clock).generator)
    await publishing.publisher.run()
    assert [published for _, published, _ in ca.issues()] == [True]


async def test_rests_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl_publisher, "FIRST_REST", 1.0)
    rest = Rest()
    assert [rest.after_failure() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert rest.until >= trio.current_time() + 50
    rest.end()
    assert rest.after_failure() == 1


class Rounds:
    """Counts the rounds of the 18-month rule, and stops the service when told to."""

    def __init__(self, publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.fails: list[Exception] = []
        self.after: Callable[[], None] = publishing.stop.set
        monkeypatch.setattr(daily_suspension, "suspend_unaccepted", self.suspend)

    async def suspend(self, *_: object) -> int:
        await trio.lowlevel.checkpoint()
        self.made += 1
        if self.fails:
            raise self.fails.pop()
        self.after()
        return 0


@pytest.mark.cps("4.4.5")
async def test_the_18_month_rule_is_applied_every_day(
    ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing = Publishing(ca)
    rounds = Rounds(publishing, monkeypatch)
    rounds.fails.append(StoreError("busy"))

    def next_day() -> None:
        if rounds.made == 4:
            publishing.stop.set()
        ca.clock.move(DAY)

    rounds.after = next_day
    await suspend_every_day(publishing.service)
    assert publishing.log.events() == ["suspension-failed"] + ["unaccepted-suspended"] * 3


async def test_the_rule_is_applied_by_one_host(ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    publishing = Publishing(ca)
    rounds = Rounds(publishing, monkeypatch)
    now = ca.clock.now()
    with ca.store.write() as connection:
        take_lease(
            connection, daily_suspension.LEASE_NAME, holder="another host", now=now, until=now + DAY / 2
        )
    rounds.after = lambda: None
    made = []
    for _ in range(3):
        assert await daily_suspension._round(publishing.service)
        made.append(rounds.made)
        ca.clock.move(DAY)
    assert made == [0, 1, 2]
