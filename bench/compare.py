"""Two result files side by side: `python -m bench.compare A.json B.json`.

Takes the results of every benchmark and of `sealmint load`: JSON documents, or what a benchmark printed, of which the
last line that is one counts. Every number that either has is shown with its ratio, and so is what differs in machine,
commit and settings, without which a ratio means nothing. Lists of more than a few entries (figures by the second) are
left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

LONGEST_LIST = 16
"""Entries of a list that is compared entry by entry. A guess: points of a sweep, but no series by the second."""

_PASSING = ("load_before",)
"""Settings that differ each time and are no difference of the machine's."""

Leaf = float | str | bool | None


class Compared(NamedTuple):
    """A number that at least one of the two results has."""

    name: str
    """Where it stands: names and places joined by points."""
    before: float | None
    after: float | None
    ratio: float | None
    """After by before; None where one is missing, or before is 0."""


class Different(NamedTuple):
    """Something else that the two results do not have alike."""

    name: str
    before: Leaf
    after: Leaf


class Comparison(NamedTuple):
    """Two results side by side."""

    numbers: list[Compared]
    differences: list[Different]


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compare two results."""
    one, other = dict(leaves(before)), dict(leaves(after))
    numbers, differences = [], []
    for name in [*one, *(name for name in other if name not in one)]:
        first, second = one.get(name), other.get(name)
        if _is_figure(name, first, second):
            numbers.append(_compared(name, first, second))
        elif first != second and name.rpartition(".")[2] not in _PASSING:
            differences.append(Different(name, first, second))
    return Comparison(numbers, differences)


def leaves(document: Any, name: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield the leaves of a document, each with where it stands; long lists are passed over."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    elif not isinstance(document, list):
        yield name, document
    elif len(document) <= LONGEST_LIST and name.rpartition(".")[2] not in _PASSING:
        for place, value in enumerate(document):
            yield from leaves(value, f"{name}.{place}")


def _is_figure(name: str, first: Leaf, second: Leaf) -> bool:
    """Whether it is a number to be compared; numbers that describe the machine or what was asked for are settings."""
    if name.partition(".")[0] in ("machine", "scenario", "options"):
        return False
    values = [value for value in (first, second) if value is not None]
    return bool(values) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _compared(name: str, first: Leaf, second: Leaf) -> Compared:
    before, after = (None if value is None else float(value) for value in (first, second))
    ratio = after / before if before and after is not None else None
    return Compared(name, before, after, ratio)


def read_result(path: Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        SystemExit: there is none in the file.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: cannot be read: {error}") from error
    for part in (text, *reversed(text.splitlines())):
        try:
            document = json.loads(part)
        except ValueError:
            continue
        if isinstance(document, dict):
            return document
    raise SystemExit(f"{path}: has no JSON object")


def show(found: Comparison, titles: tuple[str, str]) -> None:
    """Print both tables."""
    console = Console(markup=False, emoji=False, highlight=False)
    numbers = Table("", *titles, "ratio", box=None, pad_edge=False)
    for column in numbers.columns[1:]:
        column.justify = "right"
    for one in found.numbers:
        ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
        numbers.add_row(one.name, _figure(one.before), _figure(one.after), ratio)
    console.print(numbers)
    if found.differences:
        others = Table("what differs besides", *titles, box=None, pad_edge=False)
        for other in found.differences:
            others.add_row(other.name, *("-" if value is None else str(value) for value in other[1:]))
        console.print()
        console.print(others)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def main() -> None:
    """Compare two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = compare(read_result(options.before), read_result(options.after))
    if options.json:
        document = {name: [one._asdict() for one in part] for name, part in found._asdict().items()}
        json.dump(document, sys.stdout, ensure_ascii=False, indent=1)
        print()
    else:
        show(found, (str(options.before), str(options.after)))


if __name__ == "__main__":
    main()
