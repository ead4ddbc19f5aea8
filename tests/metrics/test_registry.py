"""The numbers of one process."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics.families import Family, Kind
from engine.metrics.registry import Metrics

COUNTER = Family("sealmint_things_total", Kind.COUNTER, "Things.", ("test",), ("colour",))
GAUGE = Family("sealmint_level", Kind.GAUGE, "A level.", ("test",))
BOUNDS = (0.001, 0.01, 0.1)
HISTOGRAM = Family("sealmint_time_seconds", Kind.HISTOGRAM, "Time.", ("test",), (), BOUNDS)


def samples(metrics: Metrics, family: Family) -> list[dict[str, object]]:
    (found,) = [one["samples"] for one in metrics.snapshot() if one["name"] == family.name]
    return list(found)


def test_the_same_labels_are_the_same_counter_whatever_their_order() -> None:
    metrics = Metrics()
    family = Family("sealmint_two_total", Kind.COUNTER, "Two.", ("test",), ("a", "b"))
    metrics.counter(family, a="1", b="2").add()
    metrics.counter(family, b="2", a="1").add(2)
    assert samples(metrics, family) == [{"labels": {"a": "1", "b": "2"}, "value": 3}]


def test_what_is_asked_for_is_there_at_nought_and_what_is_declared_without_a_number() -> None:
    metrics = Metrics()
    metrics.declare(GAUGE)
    metrics.counter(COUNTER, colour="red")
    assert samples(metrics, GAUGE) == []
    assert samples(metrics, COUNTER) == [{"labels": {"colour": "red"}, "value": 0}]


def test_a_gauge_that_has_nothing_to_say_is_not_served() -> None:
    metrics = Metrics()
    gauge = metrics.gauge(GAUGE)
    gauge.set(4)
    gauge.set(None)
    assert samples(metrics, GAUGE) == []


@given(st.lists(st.floats(0, 1)))
def test_a_value_is_in_the_first_bucket_that_reaches_it(values: list[float]) -> None:
    metrics = Metrics()
    for value in values:
        metrics.histogram(HISTOGRAM).observe(value)
    metrics.histogram(HISTOGRAM)
    (sample,) = samples(metrics, HISTOGRAM)
    reached = [sum(value <= bound for value in values) for bound in BOUNDS]
    buckets = sample["buckets"]
    assert isinstance(buckets, list)
    assert [sum(buckets[: place + 1]) for place in range(len(BOUNDS))] == reached
    assert (sample["count"], sample["sum"]) == (len(values), pytest.approx(sum(values)))


def test_values_counted_elsewhere_are_put_where_their_bucket_ends() -> None:
    metrics = Metrics()
    metrics.histogram(HISTOGRAM).add({0.0005: 2, 0.01: 1, 5.0: 3}, 15.1)
    (sample,) = samples(metrics, HISTOGRAM)
    assert sample["buckets"] == [2, 1, 0, 3]
    assert sample["sum"] == 15.1


def test_a_snapshot_asks_first_and_can_be_sent() -> None:
    metrics = Metrics()

    def look() -> None:
        metrics.gauge(GAUGE).set(7)

    metrics.before_reading(look)
    assert orjson.loads(orjson.dumps(metrics.snapshot())) == [
        {"name": "sealmint_level", "samples": [{"labels": {}, "value": 7}]}
    ]
    metrics.forget(look)
    metrics.gauge(GAUGE).set(8)
    assert samples(metrics, GAUGE) == [{"labels": {}, "value": 8}]


def test_another_kind_and_other_labels_are_refused() -> None:
    metrics = Metrics()
    with pytest.raises(TypeError, match="is a counter"):
        metrics.gauge(COUNTER, colour="red")
    for labels in ({}, {"color": "red"}, {"colour": "red", "size": "1"}):
        with pytest.raises(ValueError, match="has the labels"):
            metrics.counter(COUNTER, **labels)
