"""Locust's processes against a server that stalls, and against one that lies."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from bench.load.load_run import Beside, Progress, run_load
from bench.load.plan import LoadPlan
from bench.load.popularity import Popularity
from bench.load.record import Cell, Record
from bench.load.scenario import checked
from engine.errors import SealmintError
from engine.x509.ocsp_response import ResponseStatus, error_response
from tests.load.toy_responder import ToyAnswers, ToyResponder, serial_of, serving

STALL_SECONDS = 1.0
STALLED_AT = 200
RATE = 200
SAFETY_NET = 300
"""Seconds until a load that hangs is given up. Decides nothing but that."""


@pytest.fixture(scope="module")
def toy() -> ToyAnswers:
    return ToyAnswers()


def plan_of(
    directory: Path, toy: ToyAnswers, url: str, count: int, processes: int, **scenario: Any
) -> LoadPlan:
    targets = directory / "targets"
    toy.write_targets(targets, count, revoked=frozenset({1}))
    parts = directory / "parts"
    parts.mkdir()
    wanted = {"name": "test", "about": "", "kinds": [{"kind": "post", "zipf": 0}]} | scenario
    return LoadPlan(
        scenario=checked(wanted, "test"),
        ocsp=url,
        http=url,
        targets=targets,
        directory=parts,
        processes=processes,
    )


async def loaded(plan: LoadPlan) -> tuple[Record, list[Progress]]:
    shown: list[Progress] = []
    with trio.fail_after(SAFETY_NET):
        record = await run_load(plan, Beside(), shown.append)
    return record, shown


async def stalled(toy: ToyAnswers, directory: Path, **scenario: Any) -> Cell:
    """Load a server that stalls once for a second."""
    good = toy.answer(serial_of(0))
    responder = ToyResponder({serial_of(0): good}, STALLED_AT, STALL_SECONDS)
    with serving(responder):
        stages = [{"shape": "constant", "seconds": 4, "rate": RATE}]
        wanted = {"stages": stages, "arrivals": "even", "connections": 1, "verify": 0.0} | scenario
        record, _ = await loaded(plan_of(directory, toy, responder.url, 1, 1, **wanted))
    assert responder.asked >= STALLED_AT
    return record.total()


def longer_than(cell: Cell, name: str, seconds: float) -> int:
    times = getattr(cell, name)
    return len(times) - int(times.within(seconds))


async def test_percentiles_show_a_stall_that_a_closed_loop_does_not_see(
    toy: ToyAnswers, tmp_path: Path
) -> None:
    """Half of what was due while nobody was answered had to wait half a second more; one request saw it."""
    cell = await stalled(toy, tmp_path)
    assert cell.offered == cell.sent == cell.good == 4 * RATE
    assert longer_than(cell, "latency", STALL_SECONDS / 2) >= RATE * STALL_SECONDS / 2 * 0.9
    assert longer_than(cell, "service", STALL_SECONDS / 2) < cell.good / 100
    open_loop, closed_loop = cell.latency.percentile(0.99), cell.service.percentile(0.99)
    assert open_loop is not None
    assert closed_loop is not None
    assert closed_loop < STALL_SECONDS / 2 < open_loop


async def test_what_cannot_be_sent_is_missed_and_not_sent_later(toy: ToyAnswers, tmp_path: Path) -> None:
    cell = await stalled(toy, tmp_path, waiting=20, patience=0.2)
    assert cell.offered == 4 * RATE
    assert cell.missed["queue full"] >= RATE * STALL_SECONDS / 2
    assert cell.missed["too late"] >= 1
    assert cell.offered == cell.sent + cell.missed.total()
    assert cell.good == cell.sent


async def test_every_lie_is_counted_by_its_name(toy: ToyAnswers, tmp_path: Path) -> None:
    revoked = toy.answer(serial_of(1), state="revoked")
    bodies: list[tuple[bytes | int, str | None]] = [
        (toy.answer(serial_of(0)), None),
        (revoked, None),
        (toy.answer(serial_of(2), spoilt=True), "signature"),
        (toy.answer(serial_of(3), state="revoked"), "status"),
        (toy.answer(serial_of(4), next_update=timedelta(minutes=-1)), "times"),
        (toy.answer(serial_of(5), about=serial_of(6)), "certificate-id"),
        (toy.answer(serial_of(6), signer=toy.toy.impostor_responder), "signer"),
        (b"no response", "unreadable"),
        (error_response(ResponseStatus.TRY_LATER), "try-later"),
        (503, "http-503"),
    ]
    responder = ToyResponder({serial_of(number): body for number, (body, _) in enumerate(bodies)})
    with serving(responder):
        stages = [{"shape": "constant", "seconds": 2, "rate": 150}]
        plan = plan_of(tmp_path, toy, responder.url, len(bodies), 2, stages=stages, connections=4, verify=1.0)
        record, shown = await loaded(plan)
    cell = record.total()
    assert set(cell.wrong) == {"signature", "status", "times", "certificate-id", "signer", "unreadable"}
    assert set(cell.errors) == {"try-later", "http-503"}
    assert set(record.examples) == {*cell.wrong, *cell.errors}
    assert cell.offered == cell.sent == responder.asked
    assert cell.offered == cell.good + cell.wrong.total() + cell.errors.total()
    assert len(cell.latency) == cell.good == cell.verified
    popularity = Popularity(len(bodies), 0, plan.scenario.seed)
    asked = Counter(bodies[popularity.index(draw)][1] for draw in plan.schedule().draws)
    assert cell.good == asked.pop(None)
    assert asked == cell.wrong + cell.errors
    assert shown[-1].counts["offered"] == cell.offered


async def test_unverified_answers_are_still_looked_at(toy: ToyAnswers, tmp_path: Path) -> None:
    bodies: list[bytes | int] = [toy.answer(serial_of(0), spoilt=True), b"no response", 404]
    responder = ToyResponder({serial_of(number): body for number, body in enumerate(bodies)})
    with serving(responder):
        stages = [{"shape": "constant", "seconds": 1, "rate": 100}]
        plan = plan_of(tmp_path, toy, responder.url, 3, 1, stages=stages, connections=2, verify=0.0)
        cell = (await loaded(plan))[0].total()
    assert (set(cell.wrong), set(cell.errors)) == ({"unreadable"}, {"http-404"})
    assert cell.good > 0  # the spoilt signature: nobody looked
    assert cell.verified == 0


async def test_nobody_there_is_an_error_of_every_arrival(toy: ToyAnswers, tmp_path: Path) -> None:
    with serving(ToyResponder({})) as gone:
        url = gone.url
    stages = [{"shape": "constant", "seconds": 1, "rate": 50}]
    cell = (await loaded(plan_of(tmp_path, toy, url, 1, 1, stages=stages)))[0].total()
    assert cell.errors["connection"] == cell.offered > 0


async def test_a_load_that_cannot_start_says_where_to_look(toy: ToyAnswers, tmp_path: Path) -> None:
    stages = [{"shape": "constant", "seconds": 1, "rate": 50}]
    plan = plan_of(tmp_path, toy, "http://127.0.0.1:9/", 1, 1, stages=stages)
    plan.targets.write_bytes(b"something else")
    with pytest.RaisesGroup(pytest.RaisesExc(SealmintError, match="locust.log")):
        await loaded(plan)
