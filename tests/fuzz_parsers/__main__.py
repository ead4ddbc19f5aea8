"""A long run: `python -m tests.fuzz_parsers [--seconds 600] [--target NAME] [--kept DIRECTORY]`; 1 with a finding.

The seconds are shared out evenly. Corpora are made in the run and thrown away; what made a reader fail is kept.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.fuzz_parsers import TARGETS, target

SLOWEST_SECONDS = 10
"""For one input; a longer one counts as a hang. A guess: none needs 0.1 s."""

MOST_MEGABYTES = 1_024
"""Resident, of a fuzzing process; it starts with some 150. A guess."""

LONGEST_OCTETS = 32_768
"""Of an input: twice what the listener takes of a body. A guess."""

_EXECUTIONS = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_DONE = re.compile(rb"^#(\d+)\b", re.MULTILINE)
_COVERED = re.compile(rb"cov: (\d+)")


class Outcome(NamedTuple):
    """What became of a target."""

    executions: int
    covered: int
    findings: list[Path]
    code: int
    said: str


def fuzz(name: str, seconds: int, kept: Path) -> Outcome:
    """Fuzz one target, in a process of its own."""
    kept.mkdir(parents=True, exist_ok=True)
    before = set(kept.iterdir())
    with tempfile.TemporaryDirectory() as corpus:
        for place, seed in enumerate(target(name).seeds()):
            (Path(corpus) / f"seed-{place}").write_bytes(seed)
        options = {
            "max_total_time": seconds,
            "timeout": SLOWEST_SECONDS,
            "rss_limit_mb": MOST_MEGABYTES,
            "max_len": LONGEST_OCTETS,
            "print_final_stats": 1,
            "artifact_prefix": f"{kept}/{name}-",
        }
        told = [f"-{option}={value}" for option, value in options.items()]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz_parsers.one_target", name, *told, corpus],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
            check=False,
        )
    executions = _EXECUTIONS.findall(done.stderr) or _DONE.findall(done.stderr) or [b"0"]
    covered = _COVERED.findall(done.stderr) or [b"0"]
    found = sorted(path for path in set(kept.iterdir()) - before)
    said = done.stderr.decode(errors="replace")[-2_000:]
    return Outcome(int(executions[-1]), int(covered[-1]), found, done.returncode, said)


def main() -> None:
    """Fuzz every target in turn and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_parsers")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--kept", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    names = [options.target] if options.target else list(TARGETS)
    is_clean = True
    for name in names:
        outcome = fuzz(name, max(1, options.seconds // len(names)), options.kept.absolute())
        print(f"{name:18} {outcome.executions:9} executions, {outcome.covered:5} edges", flush=True)
        for path in outcome.findings:
            print(f"  FINDING {path}: {path.read_bytes()[:200].hex()}")
        if outcome.findings or outcome.code:
            is_clean = False
            print(outcome.said)
    sys.exit(not is_clean)


if __name__ == "__main__":
    main()
