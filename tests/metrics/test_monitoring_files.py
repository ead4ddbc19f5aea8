"""Dashboard and alert rules against the catalogue, by hand and by Prometheus's own checker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.metrics.catalogue import FAMILIES, OPERATOR
from engine.metrics.families import Family, Kind
from tests.metrics.expressions import RULES, Asked, alerts, dashboard, everything_asked

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
ASKED = list(everything_asked())


def family_of(name: str) -> Family:
    """The family of a name in an expression; a histogram is asked for by its parts."""
    for suffix in ("", "_bucket", "_count", "_sum"):
        family = FAMILIES.get(name.removesuffix(suffix))
        if family is not None and (family.kind is Kind.HISTOGRAM) == bool(suffix):
            return family
    raise AssertionError(f"{name} is in no family")


def labels_of(family: Family) -> set[str]:
    return {*family.labels, *(() if family.processes == OPERATOR else ("process",))}


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.place)
def test_names_and_labels_are_in_the_catalogue(asked: Asked) -> None:
    known: set[str] = set()
    for name, selecting in asked.selected:
        labels = labels_of(family_of(name))
        assert selecting <= labels, (name, selecting)
        known |= labels
    assert asked.other_labels <= known
    assert asked.selected or "up{" in asked.expression


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.place)
def test_brackets_are_closed_and_counters_are_rated(asked: Asked) -> None:
    text = re.sub(r'"[^"]*"', '""', asked.expression)
    for opening, closing in ("()", "[]", "{}"):
        assert text.count(opening) == text.count(closing)
    for name, _ in asked.selected:
        if family_of(name).kind is not Kind.GAUGE:
            assert re.search(rf"(rate|increase)\({name}[^)]*\[", asked.expression), name


def test_every_alert_says_how_bad_it_is_and_the_page_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    page = PAGE.read_text("utf-8")
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert f"`{rule['alert']}`" in page, rule["alert"]


def test_panels_do_not_overlap_and_are_within_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    identifiers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.judge("promtool")
@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus has it")
def test_prometheus_accepts_the_rules_and_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"expression_{number}", "expr": asked.expression.replace("$__rate_interval", "5m")}
        for number, asked in enumerate(ASKED)
    ]
    # JSON is YAML
    (tmp_path / "asked.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    for file in (RULES, tmp_path / "asked.yml"):
        done = subprocess.run(
            ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
