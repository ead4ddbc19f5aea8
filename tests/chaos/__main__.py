"""`python -m tests.chaos --rounds 200 --seed 7 [--only KIND]`: docs/chaos.md."""

from __future__ import annotations

import argparse
import atexit
import random
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.kinds import KINDS, rounds
from tests.chaos.rounds import template_of
from tests.chaos.templates import make_templates
from tests.cli.prepared_home import copy_of, make_template


def main() -> None:
    """Play rounds; exit 1 at the first that is not good, whose directory stays."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="drawn, and printed, without one")
    parser.add_argument("--only", choices=KINDS)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="sealmint-chaos-"))
    templates = make_templates(make_template(directory / "prepared"), directory)
    chance = random.Random(seed)
    again = 0
    opened = ExitStack()
    atexit.register(opened.close)  # a round that is not good ends the program wherever it is
    played = rounds(arguments.only, chance, opened)
    for number, one in zip(range(1, arguments.rounds + 1), played, strict=False):
        home = copy_of(template_of(one, templates), directory / f"round-{number}")
        try:
            victim, verdict = one.play(home, chance)
        except BaseException:
            print(f"round {number}: {one.kind} {one.name}: FAILED; its home: {home.path}", flush=True)
            raise
        print(f"round {number}: {one.kind} {one.name}: {victim}: {verdict}", flush=True)
        if not verdict.is_good:
            sys.exit(f"its home: {home.path}")
        again += verdict.signed_again
        shutil.rmtree(home.directory)
    shutil.rmtree(directory)
    print(f"{arguments.rounds} rounds: lost 0, doubled 0, unaccounted 0; signed again {again}")


if __name__ == "__main__":
    main()
