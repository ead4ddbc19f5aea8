"""The kinds of rounds there are, and in which order they are played."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle

from tests.chaos.database_rounds import database_round
from tests.chaos.host_rounds import clock_round, files_round
from tests.chaos.rounds import Round, point_rounds, random_round
from tests.chaos.serve_rounds import serve_round
from tests.chaos.status_rounds import crl_disk_round, map_round, status_files_round
from tests.chaos.token_rounds import token_round
from tests.postgresql_server import running_server

Make = Callable[[random.Random], Round]

DRAWN: dict[str, Make] = {
    "random": random_round,
    "token": token_round,
    "files": files_round,
    "clock": clock_round,
    "status-files": status_files_round,
    "map": map_round,
    "crl-disk": crl_disk_round,
    "serve": serve_round,
}
"""Kinds of rounds whose particulars are drawn."""

KINDS = ("point", *DRAWN, "database")


def rounds(only: str | None, chance: random.Random, opened: ExitStack) -> Iterator[Round]:
    """All kinds in turn, or one again and again: of named steps the next one, of the others what is drawn."""
    server = opened.enter_context(running_server()) if only in (None, "database") else None
    points = cycle(point_rounds())
    for kind in cycle(KINDS if only is None else [only]):
        if kind == "point":
            yield next(points)
        elif kind == "database":
            assert server is not None
            yield database_round(server, chance)
        else:
            yield DRAWN[kind](chance)
