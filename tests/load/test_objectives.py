"""Objectives against records written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import objectives
from bench.load.objectives import Objective, ServiceLevel, judge, load_service_level
from bench.load.record import Record
from bench.load.result import verdict_of
from engine.errors import ConfigurationInvalid
from tests.load.calm import calm


def record_of(latencies: list[float], *, second: int = 10, kind: str = "post", **counts: Any) -> Record:
    record = Record()
    add(record, latencies, second=second, kind=kind, **counts)
    return record


def add(record: Record, latencies: list[float], *, second: int, kind: str = "post", **counts: Any) -> None:
    cell = record.cell(second, kind)
    for latency in latencies:
        cell.latency.add(latency)
        cell.service.add(latency)
    cell.good += len(latencies)
    cell.sent += (
        len(latencies) + sum(counts.get("errors", {}).values()) + sum(counts.get("wrong", {}).values())
    )
    cell.cached += counts.get("cached", 0)
    cell.offered += cell.sent + cell.cached + sum(counts.get("missed", {}).values())
    for name in ("errors", "wrong", "missed"):
        getattr(cell, name).update(counts.get(name, {}))


def judged(record: Record, warm_up: int = 0, seconds: float = 20, **objective: Any) -> objectives.Judgement:
    level = ServiceLevel(name="test", warm_up_seconds=warm_up, objectives=(Objective(**objective),))
    (found,) = judge(level, record, seconds)
    return found


FAILING: dict[str, Any] = {
    "errors": {"timeout": 2, "http-503": 1},
    "wrong": {"status": 1},
    "missed": {"too late": 6},
}


@pytest.mark.parametrize(
    ("objective", "value", "met", "margin"),
    [
        ({"measure": "p50_ms", "at_most": 12}, 10, True, 2),
        ({"measure": "p99_ms", "at_most": 50}, 200, False, -150),
        ({"measure": "right_within", "within_ms": 100, "at_least": 0.9}, 0.85, False, -0.05),
        ({"measure": "error_rate", "at_most": 0.05}, 4 / 94, True, 0.05 - 4 / 94),
        ({"measure": "miss_rate", "at_most": 0.05}, 0.06, False, -0.01),
        ({"measure": "wrong_answers", "at_most": 0}, 1, False, -1),
        ({"measure": "goodput_per_second", "at_least": 4}, 4.5, True, 0.5),
        ({"measure": "p50_ms", "kind": "get", "at_most": 12}, None, False, None),
        ({"measure": "verified_answers", "at_least": 1}, 0, False, -1),
        ({"measure": "lateness_p99_ms", "at_most": 1}, None, False, None),
    ],
)
def test_each_measure(
    objective: dict[str, Any], value: float | None, met: bool, margin: float | None
) -> None:
    found = judged(record_of([0.010] * 85 + [0.200] * 5, **FAILING), **objective)
    assert found.value == (None if value is None else pytest.approx(value, rel=0.01))
    assert found.met is met
    assert found.margin == (None if margin is None else pytest.approx(margin, rel=0.05))


def test_the_warm_up_is_left_out_but_not_its_lies() -> None:
    record = record_of([0.010] * 10)
    add(record, [5.0] * 10, second=1, wrong={"signature": 1})
    assert judged(record, 2, measure="p99_ms", at_most=20).met
    assert not judged(record, 0, measure="p99_ms", at_most=20).met
    assert judged(record, 2, measure="wrong_answers", at_most=0).value == 1
    assert judged(record, 2, 12, measure="goodput_per_second", at_least=1).value == 1.0


def test_a_cached_answer_is_no_request() -> None:
    record = record_of([0.010] * 5, cached=95)
    assert judged(record, measure="right_within", within_ms=50, at_least=1).value == 1.0


def test_what_was_never_sent_counts_against_what_was_right_in_time() -> None:
    """Percentiles of answers cannot show it: there was none."""
    record = record_of([0.010] * 50, missed={"queue full": 50})
    assert judged(record, measure="p99_ms", at_most=20).met
    assert judged(record, measure="right_within", within_ms=50, at_least=0.9).value == 0.5


@calm
@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.floats(0.1, 10_000))
def test_met_and_margin_agree(latencies: list[float], bound: float) -> None:
    record = record_of(latencies)
    at_most = judged(record, measure="p95_ms", at_most=bound)
    at_least = judged(record, measure="p95_ms", at_least=bound)
    assert at_most.value is not None
    assert at_most.margin is not None
    assert at_most.met == (at_most.value <= bound) == (at_most.margin >= 0)
    assert at_least.margin == pytest.approx(-at_most.margin)
    assert verdict_of([at_most, at_least]) == ("met" if at_most.met and at_least.met else "missed")


@pytest.mark.parametrize("path", sorted(objectives.SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_objectives_can_be_read_and_forbid_lies(path: Path) -> None:
    level = load_service_level(path.stem)
    assert any(one.measure == "wrong_answers" and one.at_most == 0 for one in level.objectives)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('name = "x"\nobjectives = []', "objectives"),
        ('name = "x"\n[[objectives]]\nmeasure = "p98_ms"\nat_most = 1', "objectives.0.measure"),
        ('name = "x"\n[[objectives]]\nmeasure = "p99_ms"', "either at_most or at_least"),
        ('name = "x"\n[[objectives]]\nmeasure = "p99_ms"\nat_most = 1\nat_least = 1', "either at_most"),
        ('name = "x"\n[[objectives]]\nmeasure = "right_within"\nat_least = 1', "within_ms"),
        ("name = ", "Invalid value"),
    ],
)
def test_wrong_objectives_are_told(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "slo.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationInvalid) as raised:
        load_service_level(str(file))
    assert rule in str(raised.value)


def test_what_is_not_there_names_what_is_shipped() -> None:
    with pytest.raises(ConfigurationInvalid) as raised:
        load_service_level("nothing")
    assert "ocsp" in str(raised.value)


def test_records_of_processes_add_up_and_survive_json() -> None:
    one = record_of([0.010, 0.020], second=1, **FAILING)
    one.add_example("status", "said good")
    other = record_of([0.030], second=1, kind="get")
    other.lateness.add(0.5)
    read = [Record.from_json(json.loads(json.dumps(record.as_json()))) for record in (one, other)]
    total = Record.sum_of([*read, Record()])
    assert total.kinds == ["get", "post"]
    assert total.total().good == 3
    assert total.total("post").errors == one.total().errors
    assert total.total().offered == one.total().offered + 1
    assert total.examples == {"status": ["said good"]}
    assert len(total.lateness) == 1
