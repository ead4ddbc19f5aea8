"""What the dashboard and the alert rules ask for: expressions taken apart as far as their names and labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # the package ships no types

DIRECTORY = Path(__file__).parents[2] / "deploy" / "monitoring"
RULES, DASHBOARD = DIRECTORY / "sealmint-alerts.yml", DIRECTORY / "sealmint-dashboard.json"

_SELECTOR = re.compile(r"\b(sealmint_[a-z0-9_]+)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_TEMPLATE = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")


@dataclass(frozen=True)
class Asked:
    """An expression, and what its text beside it says of labels."""

    place: str
    expression: str
    beside: str

    @property
    def selected(self) -> list[tuple[str, set[str]]]:
        """Metrics by name, with the labels that select among them."""
        return [
            (name, set(_MATCHER.findall(matchers))) for name, matchers in _SELECTOR.findall(self.expression)
        ]

    @property
    def other_labels(self) -> set[str]:
        """Labels by which is grouped, and those that are shown."""
        grouped = {
            label.strip() for group in _GROUPING.findall(self.expression) for label in group.split(",")
        }
        return (grouped | set(_TEMPLATE.findall(self.beside))) - {"le", ""}


def alerts() -> list[dict[str, Any]]:
    """Every alert rule."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def everything_asked() -> Iterator[Asked]:
    """The expressions of both files."""
    for rule in alerts():
        yield Asked(rule["alert"], rule["expr"], rule["annotations"]["summary"])
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield Asked(panel["title"], target["expr"], target["legendFormat"])
