"""Two results side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare import LONGEST_LIST, Compared, Different, compare, leaves, read_result
from tests.load.calm import calm

ROOT = Path(__file__).parents[2]

BEFORE = {
    "machine": {"cpus": 2, "packages": {"trio": "0.33"}, "load_before": [0.1, 0.2, 0.3]},
    "commit": "abc",
    "certificates": 1000,
    "kinds": {"post": {"p99_ms": 10.0, "errors": {}}},
    "series": [{"second": second} for second in range(LONGEST_LIST + 1)],
    "met": True,
}
AFTER = {
    "machine": {"cpus": 4, "packages": {"trio": "0.33"}, "load_before": [5, 5, 5]},
    "commit": "def",
    "certificates": 1000,
    "kinds": {"post": {"p99_ms": 15.0, "errors": {"timeout": 2}}},
    "met": False,
}


def test_numbers_have_a_ratio_and_the_rest_says_what_differs() -> None:
    found = compare(BEFORE, AFTER)
    assert found.numbers == [
        Compared("certificates", 1000, 1000, 1.0),
        Compared("kinds.post.p99_ms", 10, 15, 1.5),
        Compared("kinds.post.errors.timeout", None, 2, None),
    ]
    assert found.differences == [
        Different("machine.cpus", 2, 4),
        Different("commit", "abc", "def"),
        Different("met", True, False),
    ]


def test_nothing_is_divided_by_zero() -> None:
    assert compare({"wrong": 0}, {"wrong": 3}).numbers == [Compared("wrong", 0, 3, None)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@calm
@given(st.dictionaries(st.sampled_from(["a", "b", "machine"]), json_values))
def test_a_result_beside_itself_differs_in_nothing(document: dict[str, object]) -> None:
    found = compare(document, document)
    assert found.differences == []
    assert all(one.ratio in (None, 1.0) and one.before == one.after for one in found.numbers)
    assert {one.name for one in found.numbers} <= {name for name, _ in leaves(document)}


def test_what_a_benchmark_printed_is_read_too(tmp_path: Path) -> None:
    printed = tmp_path / "printed.txt"
    printed.write_text(f"three names    p50 0.2\n{json.dumps(BEFORE)}\n")
    assert read_result(printed) == BEFORE
    printed.write_text("[1, 2]\nnothing\n")
    with pytest.raises(SystemExit, match="no JSON object"):
        read_result(printed)
    with pytest.raises(SystemExit, match="cannot be read"):
        read_result(tmp_path / "none.json")


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command(tmp_path: Path, as_json: bool) -> None:
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, document in zip(paths, (BEFORE, AFTER), strict=True):
        path.write_text(json.dumps(document, indent=1))
    command = [sys.executable, "-m", "bench.compare", *map(str, paths), *["--json"] * as_json]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    if as_json:
        printed = json.loads(done.stdout)
        assert printed["numbers"][1] == {"name": "kinds.post.p99_ms", "before": 10, "after": 15, "ratio": 1.5}
    else:
        assert "1.500" in done.stdout
        assert "commit" in done.stdout
