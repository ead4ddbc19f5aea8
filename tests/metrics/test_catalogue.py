"""Names and units by the conventions of Prometheus, and every family on the page that explains them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.metrics.catalogue import FAMILIES
from engine.metrics.families import Family, Kind

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
EACH = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


@EACH
def test_the_name_says_kind_and_unit(family: Family) -> None:
    assert re.fullmatch(r"sealmint_[a-z][a-z0-9]*(_[a-z0-9]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|kb|mb|percent|count|sum|bucket)(_|$)", family.name)
    if family.kind is Kind.HISTOGRAM:
        assert family.name.endswith("_duration_seconds")


@EACH
def test_labels_and_bounds(family: Family) -> None:
    assert not {"process", "le", "pid", "job", "instance"} & set(family.labels)
    assert all(re.fullmatch("[a-z]+", label) for label in family.labels)
    assert list(family.bounds) == sorted(set(family.bounds))
    assert bool(family.bounds) == (family.kind is Kind.HISTOGRAM)
    assert family.help.endswith(".")
    assert family.processes


@EACH
def test_the_page_explains_it(family: Family) -> None:
    assert f"`{family.name}`" in PAGE.read_text("utf-8")
