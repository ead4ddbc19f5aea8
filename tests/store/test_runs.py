"""Runs: states that change by rule, and the reject report."""

from __future__ import annotations

import pytest

from engine.errors import InputRejected, RunStateConflict
from engine.store.database import Store
from engine.store.plans import append_rejects
from engine.store.runs import (
    RunState,
    change_state,
    get_run,
    list_runs,
    reject_reasons,
    rejects,
    run_state,
    totals,
)
from tests.store.plans import NOW, plan


def test_state_changes_only_from_the_states_allowed(store: Store) -> None:
    run_id = plan(store, state=RunState.PLANNED)
    with store.write() as connection:
        before = change_state(
            connection, run_id, RunState.RUNNING, allowed=frozenset({RunState.PLANNED}), started_at=NOW
        )
        assert before is RunState.PLANNED
        assert run_state(connection, run_id) is RunState.RUNNING
        assert get_run(connection, run_id).started_at == NOW
    allowed = frozenset({RunState.PAUSED, RunState.PLANNED})
    expected = f"run {run_id} is running; this needs it to be paused or planned"
    with pytest.raises(RunStateConflict, match=expected), store.write() as connection:
        change_state(connection, run_id, RunState.COMPLETED, allowed=allowed)
    with store.read() as connection:
        assert [row.state for row in list_runs(connection)] == ["running"]


def test_unknown_run_is_named(store: Store) -> None:
    with store.write() as connection:
        for ask in (get_run, run_state):
            with pytest.raises(InputRejected, match=r"no such run.*77"):
                ask(connection, 77)
        with pytest.raises(InputRejected):
            change_state(connection, 77, RunState.RUNNING, allowed=frozenset(RunState))


def test_totals_of_a_run_without_units(store: Store) -> None:
    run_id = plan(store, 0)
    with store.read() as connection:
        assert totals(connection, run_id) == dict.fromkeys(
            ("items", "issued", "failed", "aborted", "pending"), 0
        )


def test_reject_report_is_in_the_order_of_the_files(store: Store) -> None:
    run_id, other = plan(store, 0), plan(store, 0)
    lines: list[tuple[object, ...]] = [
        ("card-keys", 2, "MG1", "card-line-wrong", "kind", "x"),
        ("register", 10, "12345678", "not-in-force", "status", "x"),
        ("card-keys", 1, None, "not-in-force", None, "the same word for a card"),
        ("register", 9, None, "not-json", None, "x"),
        ("register", 11, "12345679", "not-in-force", "status", "x"),
    ]
    with store.write() as connection:
        append_rejects(connection, run_id, lines)
        append_rejects(connection, other, lines[:1])
        append_rejects(connection, other, [])
    with store.read() as connection:
        report = [tuple(row)[2:] for row in rejects(connection, run_id)]
        assert report == [lines[3], lines[1], lines[4], lines[2], lines[0]]
        assert reject_reasons(connection, run_id) == {"not-in-force": 2, "not-json": 1}
        assert reject_reasons(connection, other) == {}
