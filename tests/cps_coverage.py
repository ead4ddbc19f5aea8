"""Writes docs/cps-coverage.md: which test shows that which clause of the CPS is kept.

    python -m tests.cps_coverage            write the file
    python -m tests.cps_coverage --check    exit 1 when the file is not what would be written

Reads the ``@pytest.mark.cps("…")`` markers from the test files' syntax trees, so that nothing is imported or run.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cps-coverage.md"

_HEAD = """# CPS clauses and the tests that show them kept

Generated from the `cps` markers of the tests by `python -m tests.cps_coverage`; do not edit. Clauses are those of
the certification practice statement; "choice" is one of the project's own, where the statement is silent or contradicts
itself.

| clause | tests |
|---|---|
"""


def clauses_by_test(source: str) -> Iterator[tuple[str, str]]:
    """Yield (clause, test) for every marker in a test file's source; a class is part of the test's name.

    Raises:
        ValueError: a marker's argument is not one literal text.
    """
    module = ast.parse(source)
    yield from _below(module.body, "", _module_clauses(module))


def _below(body: list[ast.stmt], prefix: str, inherited: list[str]) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            own = _clauses(node.decorator_list)
            yield from _below(node.body, f"{prefix}{node.name}::", inherited + own)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            for clause in dict.fromkeys(inherited + _clauses(node.decorator_list)):
                yield clause, prefix + node.name


def _module_clauses(module: ast.Module) -> list[str]:
    """The clauses of a module's ``pytestmark``."""
    values = [
        node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)
    ]
    return _clauses(values)


def _clauses(expressions: Iterable[ast.expr]) -> list[str]:
    """The clauses in decorators or marks, those of ``pytest.param(…, marks=…)`` too."""
    return [
        _literal(node)
        for expression in expressions
        for node in ast.walk(expression)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.cps"
    ]


def _literal(marker: ast.Call) -> str:
    match marker.args:
        case [ast.Constant(value=str(clause))] if not marker.keywords:
            return clause
    raise ValueError(f"line {marker.lineno}: a cps marker has one clause, written out: {ast.unparse(marker)}")


def in_order(clause: str) -> list[tuple[int, int, str]]:
    """Sort key: 1.3.5 before 1.3.10, clauses before choices."""
    parts = re.findall(r"\d+|[^\d.() ]+", clause)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def page(tests: Path) -> str:
    """Return the page for the test files under a folder.

    Raises:
        ValueError: a marker cannot be read; names the file.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(tests.rglob("test_*.py")):
        place = path.relative_to(tests.parent).as_posix()
        try:
            for clause, test in clauses_by_test(path.read_text("utf-8")):
                found[clause].append(f"`{place}::{test}`")
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    rows = (f"| {clause} | {'<br>'.join(found[clause])} |\n" for clause in sorted(found, key=in_order))
    return _HEAD + "".join(rows)


def main(arguments: list[str]) -> int:
    """Write or check the page; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tests.cps_coverage [--check]", file=sys.stderr)
        return 2
    text = page(ROOT / "tests")
    if not arguments:
        PAGE.write_text(text, "utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text("utf-8") != text:
        print(f"{PAGE.relative_to(ROOT)} is stale: run python -m tests.cps_coverage", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
