"""The page of CPS clauses is read from the markers, all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import cps_coverage

MARKED = """
import pytest
pytestmark = [pytest.mark.cps("4.6.1"), pytest.mark.judge("openssl")]

@pytest.mark.cps("1.3.10")
@pytest.mark.cps("1.3.5.1")
def test_two(): ...

@pytest.mark.parametrize("kind", [pytest.param("a", marks=pytest.mark.cps("4.2.1.1(2)"))])
async def test_parameter(kind): ...

@pytest.mark.cps("choice 22")
class TestClass:
    def test_inside(self): ...
    def helper(self): ...
"""


def test_markers_of_functions_parameters_classes_and_modules_are_found() -> None:
    assert set(cps_coverage.clauses_by_test(MARKED)) == {
        ("4.6.1", "test_two"),
        ("1.3.10", "test_two"),
        ("1.3.5.1", "test_two"),
        ("4.6.1", "test_parameter"),
        ("4.2.1.1(2)", "test_parameter"),
        ("4.6.1", "TestClass::test_inside"),
        ("choice 22", "TestClass::test_inside"),
    }


def test_the_page_is_sorted_by_clause_number(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    (tests / "x509").mkdir(parents=True)
    (tests / "x509" / "test_marked.py").write_text(MARKED, "utf-8")
    rows = [line for line in cps_coverage.page(tests).splitlines() if "::" in line]
    assert [row.split(" | ")[0] for row in rows] == [
        "| 1.3.5.1",
        "| 1.3.10",
        "| 4.2.1.1(2)",
        "| 4.6.1",
        "| choice 22",
    ]
    assert rows[1] == "| 1.3.10 | `tests/x509/test_marked.py::test_two` |"


def test_a_clause_that_is_not_written_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text("@pytest.mark.cps(CLAUSE)\ndef test_it(): ...\n", "utf-8")
    with pytest.raises(ValueError, match=r"test_wrong\.py: line 1"):
        cps_coverage.page(tmp_path)


def test_checking_tells_a_stale_page_from_a_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(cps_coverage, "ROOT", tmp_path)
    monkeypatch.setattr(cps_coverage, "PAGE", tmp_path / "docs" / "cps-coverage.md")
    assert cps_coverage.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert cps_coverage.main([]) == 0
    assert cps_coverage.main(["--check"]) == 0
    (tmp_path / "tests" / "test_new.py").write_text(MARKED, "utf-8")
    assert cps_coverage.main(["--check"]) == 1
    assert cps_coverage.main(["--chek"]) == 2
