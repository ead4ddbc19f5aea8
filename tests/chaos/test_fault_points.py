"""The table of fault points, the calls in the source, and the configuration agree."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from engine.config import load_configuration
from engine.errors import ConfigurationInvalid
from engine.fault_points import FAULT_POINTS
from tests.cli.prepared_home import ROOT, PreparedHome


def calls_in(path: Path) -> list[str]:
    return [
        ast.literal_eval(node.args[0])
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault_point"
    ]


def test_every_point_is_in_the_source_once_and_the_table_names_no_other() -> None:
    files = [*(ROOT / "engine").rglob("*.py"), *(ROOT / "responders").rglob("*.py")]
    assert Counter(name for path in files for name in calls_in(path)) == dict.fromkeys(FAULT_POINTS, 1)


def test_nothing_is_armed_unless_it_is_said(prepared: PreparedHome) -> None:
    assert load_configuration(prepared.path).fault_points.kill == []


def test_a_point_that_does_not_exist_is_refused(home: PreparedHome) -> None:
    home.configure("[token]\n", '[fault_points]\nkill = ["unit.lost"]\n\n[token]\n')
    with pytest.raises(ConfigurationInvalid, match=r"no such fault point: unit\.lost"):
        load_configuration(home.path)
