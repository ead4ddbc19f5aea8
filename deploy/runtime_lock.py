"""Prints the part of requirements.lock that the installed program needs: `python3 deploy/runtime_lock.py > FILE`.

The lock also holds what building and testing need. What of it belongs to the program is told by the comments that
pip-compile leaves at each package: by whose wish it is there. With arguments, only the packages so named, and theirs.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent
_PACKAGE = re.compile(r"^([a-z0-9.-]+)==", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def main() -> None:
    """Print the part to standard output."""
    sys.stdout.write(part_for(sys.argv[1:] or declared()))


def declared() -> list[str]:
    """Return the packages that pyproject.toml names for running."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return [match[0].lower() for text in project["dependencies"] if (match := _NAME.match(text))]


def part_for(wanted: list[str]) -> str:
    """Return the entries of packages and of all that they need.

    Raises:
        KeyError: a package is not in the lock.
    """
    entries = _entries((PROJECT / "requirements.lock").read_text())
    needed: set[str] = set()
    while wanted:
        needed.update(wanted)
        wanted = [name for name in entries if name not in needed and _wishers(entries[name]) & needed]
    return "".join(entries[name] for name in sorted(needed))


def _entries(lock: str) -> dict[str, str]:
    starts = [(found[1], found.start()) for found in _PACKAGE.finditer(lock)]
    ends = [start for _, start in starts[1:]] + [len(lock)]
    return {name: lock[start:end] for (name, start), end in zip(starts, ends, strict=True)}


def _wishers(entry: str) -> set[str]:
    """Who wants a package: `# via NAME`, or a name a line."""
    comments = [line.strip().lstrip("# ") for line in entry.splitlines() if line.strip().startswith("#")]
    return {comment.removeprefix("via").strip() for comment in comments}


if __name__ == "__main__":
    main()
