"""The supervisor, with programs of a line in the place of workers: whatever a process can do to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from pydantic import SecretStr

from engine.authority.back_off import BackOff
from engine.clock import SystemClock
from engine.issuance import supervisor
from engine.issuance.supervisor import REPLACEMENTS_WITHOUT_PROGRESS, Progress, WorkReport, work_off
from engine.issuance.worker_messages import Failed, Finished, Start, Waiting
from engine.store.database import Store, open_store
from tests.cli.prepared_home import SAFETY_NET, PreparedHome, wait_until

READY = '{"message":"ready","process":1,"sessions":1}'
DONE = '{"message":"unit-done","issued":8,"failed":0}'
FINISHED = Finished(
    cpu_microseconds=1.0,
    steps_microseconds={},
    peak_memory_mb=1.0,
    waits={},
    replaced_sessions=0,
    errors={},
).model_dump_json()

_COMPLETE = (
    "import sqlite3; c = sqlite3.connect('{}', timeout=60);"
    " c.execute('UPDATE work_unit SET state = ?', ['completed']); c.commit()"
)


def failed(text: str, *, passes: bool) -> str:
    awaited = f"the token: {text}" if passes else None
    return Failed(error="TokenError", text=text, awaited=awaited).model_dump_json()


@pytest.fixture
def store(home: PreparedHome) -> Iterator[Store]:
    home.change("UPDATE run SET state = 'running'")
    opened = open_store(f"sqlite:///{home.path}/store.sqlite")
    yield opened
    opened.close()


async def supervise(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    *,
    workers: int = 1,
    stop: trio.Event | None = None,
    progress: Progress = lambda _report: None,
) -> WorkReport:
    """Work run 1 off with workers that are this shell program; `$told` is what they are told at first.

    `finish` completes all units and says that the worker has finished.
    """
    complete = _COMPLETE.format(store.engine.url.database)
    finish = f"finish() {{ {sys.executable} -c \"{complete}\"; echo '{FINISHED}'; }}"
    monkeypatch.setattr(supervisor, "WORKER_COMMAND", ("sh", "-c", f"read -r told; {finish}; {program}"))
    start = Start(
        home="", run_id=1, holder="", sessions=1, workers=workers, draining=False, pin=SecretStr("secret")
    )
    with trio.fail_after(SAFETY_NET):
        return await work_off(
            store,
            SystemClock(),
            start,
            holder="host",
            stop=trio.Event() if stop is None else stop,
            progress=progress,
        )


def lost(home: PreparedHome) -> list[tuple[str]]:
    return home.query("SELECT json_extract(body, '$.why') FROM audit_record WHERE event = 'worker.lost'")


async def test_a_worker_that_dies_again_and_again_ends_the_work(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await supervise(store, monkeypatch, "exit 1")
    assert report.error == "a worker process died again and again"
    assert report.replaced == REPLACEMENTS_WITHOUT_PROGRESS + 1
    assert lost(home) == [("it died without a word",)] * report.replaced


async def test_units_that_become_free_as_a_worker_leaves_are_taken_by_another(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when another home's lease runs out a moment after our worker found nothing to take."""
    leave = f"[ -e {tmp_path}/second ] || {{ touch {tmp_path}/second; echo '{FINISHED}'; exit; }}"
    report = await supervise(store, monkeypatch, f"{leave}; finish")
    assert (report.error, report.replaced, len(report.workers)) == (None, 0, 2)


async def test_progress_between_deaths_is_a_reason_to_go_on(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each worker completes a unit and dies; the tenth finishes."""
    count = f"echo >> {tmp_path}/count; n=$(wc -l < {tmp_path}/count)"
    program = f"{count}; echo '{READY}'; echo '{DONE}'; [ $n = 10 ] && finish; exit 0"
    report = await supervise(store, monkeypatch, program)
    assert report.error is None
    assert (report.issued, report.replaced, len(report.workers)) == (80, 9, 1)


async def test_a_worker_that_asks_to_be_replaced_is(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = (
        f"[ -e {tmp_path}/second ] && finish && exit; touch {tmp_path}/second;"
        f" echo '{failed('stuck', passes=True)}'"
    )
    report = await supervise(store, monkeypatch, program)
    assert (report.error, report.replaced, len(report.workers)) == (None, 1, 1)
    assert lost(home) == [("stuck",)]


async def test_a_token_that_is_away_costs_any_number_of_workers(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """More than may die without a word. The run stays running and says why; the reason is recorded once."""
    monkeypatch.setattr(supervisor, "BackOff", lambda: BackOff(longest=0))
    reasons = list[str | None]()
    replaced = REPLACEMENTS_WITHOUT_PROGRESS + 3
    count = f"echo >> {tmp_path}/count; n=$(wc -l < {tmp_path}/count)"
    program = (
        f"{count}; [ $n -gt {replaced} ] && echo '{READY}' && echo '{DONE}' && finish && exit;"
        f" echo '{failed('no token', passes=True)}'"
    )
    report = await supervise(store, monkeypatch, program, progress=lambda r: reasons.append(r.waiting_for))
    assert (report.error, report.replaced, len(report.workers)) == (None, replaced, 1)
    assert lost(home) == [("no token",)]
    assert "the token: no token" in reasons
    assert report.waiting_for is None
    assert home.query("SELECT state, state_reason FROM run") == [("running", None)]


async def test_a_worker_that_waits_says_why(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the record said meanwhile is seen when the progress is told: the worker has just gone on."""
    reasons = list[str | None]()
    away, back = Waiting(awaited="the token: away").model_dump_json(), Waiting().model_dump_json()
    program = f"echo '{READY}'; echo '{away}'; echo '{back}'; finish"
    report = await supervise(store, monkeypatch, program, progress=lambda r: reasons.append(r.waiting_for))
    assert report.error is None
    assert "the token: away" in reasons
    assert reasons[-1] is None
    assert home.query("SELECT state_reason FROM run") == [(None,)]


async def test_an_error_that_a_new_worker_would_meet_too_stops_all(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first fails; the second, at work, is told to stop and finishes."""
    program = (
        f"echo '{READY}'; mkdir {tmp_path}/first && echo '{failed('no token', passes=False)}' && exit 7;"
        f" cat > /dev/null; echo '{DONE}'; finish"
    )
    report = await supervise(store, monkeypatch, program, workers=2)
    assert (report.error, report.replaced) == ("no token", 1)
    assert (report.issued, len(report.workers)) == (8, 1)


async def test_the_last_word_is_the_last(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await supervise(store, monkeypatch, f"finish; echo '{failed('late', passes=False)}'; exit 7")
    assert (report.error, report.replaced, len(report.workers)) == (None, 0, 1)


async def test_a_worker_that_does_not_end_after_its_last_word_is_killed(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.1)
    report = await supervise(store, monkeypatch, "finish; exec sleep 10000")
    assert (report.error, report.replaced, len(report.workers)) == (None, 0, 1)


async def test_a_worker_that_never_becomes_ready_does_not_keep_a_stop_waiting(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.1)
    stop = trio.Event()

    async def stop_when_started() -> None:
        await trio.to_thread.run_sync(wait_until, (tmp_path / "told").exists)
        stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_when_started)
        program = (
            f'echo "$told" > {tmp_path}/telling; mv {tmp_path}/telling {tmp_path}/told; exec sleep 10000'
        )
        report = await supervise(store, monkeypatch, program, stop=stop)
    assert (report.error, report.replaced) == (None, 1)
    told = Start.model_validate_json((tmp_path / "told").read_bytes())
    assert told.pin.get_secret_value() == "secret"
    host, number = told.holder.split(":")
    assert host == "host"
    assert len(number) == 7, "so that no holder's name begins with another's"


async def test_a_pause_asked_in_the_database_reaches_workers_that_wait(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def pause_when_ready() -> None:
        await trio.to_thread.run_sync(wait_until, (tmp_path / "ready").exists)
        home.change("UPDATE run SET state = 'pausing'")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause_when_ready)
        program = f"echo '{READY}'; touch {tmp_path}/ready; cat > /dev/null; finish"
        report = await supervise(store, monkeypatch, program, workers=2)
    assert (report.error, report.replaced, len(report.workers)) == (None, 0, 2)


async def test_what_the_dead_held_is_free_and_what_others_hold_is_not(
    home: PreparedHome, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = 4_000_000_000_000_000
    for unit, holder in ((1, "host:0000012"), (2, "other-host:0000012")):
        home.change(
            "UPDATE work_unit SET state = 'leased', holder = ?, lease_until = ? WHERE id = ?",
            holder,
            later,
            unit,
        )
    await supervise(store, monkeypatch, "finish")
    assert home.query("SELECT holder, lease_until = ? FROM work_unit WHERE id < 3 ORDER BY id", later) == [
        (None, 0),
        ("other-host:0000012", 1),
    ]
