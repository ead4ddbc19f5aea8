"""One target under atheris, in a process of its own: `python -m tests.fuzz_parsers.one_target NAME [OPTION ...]`.

The options are libFuzzer's; with a file in their place, that input alone is tried.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped]  # it ships no types

from tests.fuzz_parsers import target


def main() -> None:
    """Fuzz until the options say that it is enough, or something is found."""
    with atheris.instrument_imports(include=["engine", "responders"], enable_loader_override=False):
        reader = target(sys.argv[1])
        reader.attempt(b"")  # what is imported late

    def once(octets: bytes) -> None:
        reader.attempt(octets)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
