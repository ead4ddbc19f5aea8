"""What the control socket does to a pool: recorded first by the process that obeys, or not done at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import trio
from sqlalchemy import select, text

from engine.authority.context import AuthorityContext
from engine.authority.observed import observe_pool
from engine.authority.pool_control import MOST_SESSIONS
from engine.clock import SetClock
from engine.control.client import ask
from engine.control.server import ControlServer
from engine.errors import InputRejected, SealmintError
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_pool import SessionPool
from engine.store.database import Store
from engine.store.schema import audit_record
from tests.control.served import as_process, serve
from tests.pkcs11.scripted_sessions import scripted_pool
from tests.store.plans import NOW

NAME = "live-signer"


class Steered:
    """A pool with scripted sessions behind a control socket, and a record."""

    def __init__(self, pool: SessionPool, server: ControlServer, store: Store) -> None:
        self.pool = pool
        self.server = server
        self.store = store
        # only what the handlers use of it
        self.context = AuthorityContext(
            cast("Any", None),
            cast("Any", None),
            store,
            SetClock(NOW),
            cast("Any", None),
            f"process {NAME}",
        )

    async def tell(self, verb: str, **arguments: object) -> dict[str, Any]:
        return await ask(as_process(self.server), verb, arguments, timeout=60)

    def records(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The audit records: actor, event, body."""
        with self.store.read() as connection:
            rows = connection.execute(select(audit_record.c.actor, audit_record.c.event, audit_record.c.body))
            return [(row.actor, row.event, orjson.loads(row.body)) for row in rows]

    def changes(self) -> list[dict[str, Any]]:
        """What was recorded of changes, without what is the same in all."""
        common = ("group", "process", "asked_by")
        return [
            {name: value for name, value in body.items() if name not in common} for *_, body in self.records()
        ]

    def states(self) -> dict[int, str]:
        return {session.number: session.state for session in self.pool.statistics().sessions}


@pytest.fixture
async def steered(tmp_path: Path, store: Store, nursery: trio.Nursery) -> AsyncIterator[Steered]:
    pool, _ = scripted_pool(2)
    server = await serve(nursery, tmp_path / "control", NAME)
    made = Steered(pool, server, store)
    with observe_pool(server, pool, made.context):
        yield made


async def test_the_pool_tells_its_numbers_in_milliseconds(steered: Steered) -> None:
    told = await steered.tell("pool")
    assert (told["size"], told["wanted"], told["drained"], told["stuck"]) == (2, 2, False, 0)
    assert [(one["number"], one["state"], one["calls"]) for one in told["sessions"]] == [
        (1, "idle", 0),
        (2, "idle", 0),
    ]
    assert set(told["lanes"]) == {lane.label for lane in Lane}
    nothing = {"count": 0, "p50_ms": 0.0, "p95_ms": 0.0, "p99_ms": 0.0}
    assert told["lanes"]["live"]["wait"] == told["lanes"]["live"]["recent"]["sign"] == nothing
    assert set(told["arbiter"]) == {"parallel", "bulk_ceiling", "live_p99_ms", "processes", "in_flight"}
    assert steered.records() == []  # who only looks is not recorded


@pytest.mark.cps("4.5.1")
async def test_a_resize_is_recorded_with_who_asked_and_who_obeyed(steered: Steered) -> None:
    told = await steered.tell("pool-resize", sessions=5)
    assert (told["size"], steered.pool.size) == (5, 5)
    ((actor, event, body),) = steered.records()
    assert (actor, event) == (f"process {NAME}", "pool.changed")
    assert body.pop("asked_by").startswith("account ")
    assert body == {"group": 14, "process": NAME, "change": "resize", "from": 2, "to": 5}


async def test_a_session_is_quarantined_and_released(steered: Steered) -> None:
    await steered.tell("pool-quarantine", session=2)
    assert steered.states()[2] == "quarantined"
    await steered.tell("pool-quarantine", session=2, release=True)
    assert steered.states()[2] == "idle"
    assert steered.changes() == [
        {"change": "quarantine", "session": 2, "was": "idle"},
        {"change": "release", "session": 2, "was": "quarantined"},
    ]


async def test_a_pool_is_drained_and_opened_again(steered: Steered) -> None:
    told = await steered.tell("pool-drain")
    assert (told["drained"], told["wanted"], told["size"]) == (True, 0, 2)
    told = await steered.tell("pool-drain", undo=True)
    assert (told["drained"], told["wanted"]) == (False, 2)
    assert [one["change"] for one in steered.changes()] == ["drain", "undrain"]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("pool-resize", {}),
        ("pool-resize", {"sessions": 0}),
        ("pool-resize", {"sessions": -1}),
        ("pool-resize", {"sessions": MOST_SESSIONS + 1}),
        ("pool-resize", {"sessions": "4"}),
        ("pool-resize", {"sessions": True}),
        ("pool-resize", {"sessions": 2.5}),
        ("pool-quarantine", {}),
        ("pool-quarantine", {"session": 3}),
        ("pool-quarantine", {"session": 1, "release": 1}),
        ("pool-drain", {"undo": "yes"}),
    ],
)
async def test_nonsense_is_rejected_and_not_recorded(
    steered: Steered, verb: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(InputRejected):
        await steered.tell(verb, **arguments)
    assert (steered.records(), steered.pool.size, steered.states()) == ([], 2, {1: "idle", 2: "idle"})


@pytest.mark.cps("4.5.6")
@pytest.mark.parametrize(
    ("verb", "arguments"),
    [("pool-resize", {"sessions": 5}), ("pool-quarantine", {"session": 1}), ("pool-drain", {})],
)
async def test_what_cannot_be_recorded_is_not_done(
    steered: Steered, verb: str, arguments: dict[str, object]
) -> None:
    with steered.store.write() as connection:
        connection.execute(
            text("CREATE TRIGGER full BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'full'); END")
        )
    with pytest.raises(SealmintError) as raised:
        await steered.tell(verb, **arguments)
    assert type(raised.value).__name__ in {"AuditFailed", "StoreError"}
    pool = steered.pool.statistics()
    assert (pool.size, pool.drained, steered.states()) == (2, False, {1: "idle", 2: "idle"})
    assert steered.server.orders == {}


async def test_a_clock_that_went_back_changes_nothing(steered: Steered) -> None:
    await steered.tell("pool-resize", sessions=3)
    cast("SetClock", steered.context.clock).move(timedelta(hours=-1))
    with pytest.raises(SealmintError, match="clock"):
        await steered.tell("pool-resize", sessions=4)
    assert steered.pool.size == 3


async def test_a_pool_that_is_opened_later_obeys_as_well(steered: Steered) -> None:
    await steered.tell("pool-resize", sessions=4)
    await steered.tell("pool-drain")
    later, _ = scripted_pool(2)
    with observe_pool(steered.server, later, steered.context):
        assert (later.size, later.statistics().drained) == (4, True)
        await steered.tell("pool-drain", undo=True)
        assert (later.statistics().wanted, steered.pool.statistics().drained) == (4, True)
    another, _ = scripted_pool(2)
    with observe_pool(steered.server, another, steered.context):
        assert (another.size, another.statistics().drained) == (4, False)


async def test_a_resize_ends_a_drain(steered: Steered) -> None:
    await steered.tell("pool-drain")
    told = await steered.tell("pool-resize", sessions=3)
    assert (told["drained"], told["wanted"]) == (False, 3)
    assert len(steered.server.orders) == 1


async def test_without_a_pool_there_is_nothing_to_change(
    tmp_path: Path, store: Store, nursery: trio.Nursery
) -> None:
    pool, _ = scripted_pool(1)
    server = await serve(nursery, tmp_path / "control", NAME)
    steered = Steered(pool, server, store)
    with observe_pool(server, pool, steered.context):
        await steered.tell("pool")
    with pytest.raises(InputRejected, match="verb"):
        await steered.tell("pool-resize", sessions=3)
