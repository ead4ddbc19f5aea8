"""What became of the arrivals: counts and times by second and kind, of one process or of all.

The second is that in which an arrival was due, whenever it was sent or answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.load.histogram import Histogram


@dataclass(slots=True)
class Cell:
    """One kind in one second.

    Attributes:
        offered: arrivals that were due.
        sent: those that became a request.
        cached: those that a cache of the load's own answered, as the scenario wants it: no request, no error.
        good: sent, and answered rightly as far as was looked.
        verified: answers whose signature and content were verified.
        errors: sent, and no answer or one that says why there is none; by name.
        wrong: answers that should never have left; by name.
        missed: arrivals that were never sent, because no connection was free; by name.
        latency: seconds from when it was due to the end of a good answer.
        service: seconds from when it was sent to the end of a good answer: what a closed loop would have seen.
    """

    offered: int = 0
    sent: int = 0
    cached: int = 0
    good: int = 0
    verified: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)

    @classmethod
    def sum_of(cls, cells: Iterable[Cell]) -> Cell:
        """Add cells."""
        every = list(cells)
        total = cls(**{name: sum(getattr(one, name) for one in every) for name in _NUMBERS})
        for name in _COUNTS:
            for one in every:
                getattr(total, name).update(getattr(one, name))
        for name in _TIMES:
            setattr(total, name, Histogram.sum_of(getattr(one, name) for one in every))
        return total

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return (
            {name: getattr(self, name) for name in _NUMBERS}
            | {name: dict(getattr(self, name)) for name in _COUNTS}
            | {name: getattr(self, name).as_counts() for name in _TIMES}
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Cell:
        """Read what `as_json` wrote."""
        values: dict[str, Any] = {name: document[name] for name in _NUMBERS}
        values |= {name: Counter(document[name]) for name in _COUNTS}
        values |= {name: Histogram(document[name]) for name in _TIMES}
        return cls(**values)


_NUMBERS = ("offered", "sent", "cached", "good", "verified")
_COUNTS = ("errors", "wrong", "missed")
_TIMES = ("latency", "service")


@dataclass(slots=True)
class Record:
    """Cells by second and kind.

    Attributes:
        cells: by second since the beginning, and name of the kind.
        lateness: seconds by which the load itself was late in handing out an arrival: its own fault, not the server's.
        examples: a few wrong answers and errors in full, by name.
        cpu_seconds: CPU time of the processes that counted.
    """

    cells: dict[tuple[int, str], Cell] = field(default_factory=dict)
    lateness: Histogram = field(default_factory=Histogram)
    examples: dict[str, list[str]] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def cell(self, due: float, kind: str) -> Cell:
        """Return the cell of an arrival, made if it is missing."""
        place = int(due), kind
        if place not in self.cells:
            self.cells[place] = Cell()
        return self.cells[place]

    def add_example(self, name: str, detail: str) -> None:
        """Keep what is said of a failure, for the first few of each name."""
        kept = self.examples.setdefault(name, [])
        if len(kept) < EXAMPLES:
            kept.append(detail[:EXAMPLE_CHARACTERS])

    def total(self, kind: str | None = None, since: int = 0) -> Cell:
        """Add what was counted.

        Args:
            kind: of one kind only; None for all.
            since: leaves out the seconds before.
        """
        return Cell.sum_of(
            cell for (second, name), cell in self.cells.items() if second >= since and kind in (None, name)
        )

    @property
    def kinds(self) -> list[str]:
        """The kinds that were counted."""
        return sorted({kind for _, kind in self.cells})

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        cells = [[second, kind, cell.as_json()] for (second, kind), cell in sorted(self.cells.items())]
        return {
            "cells": cells,
            "lateness": self.lateness.as_counts(),
            "examples": self.examples,
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """Read what `as_json` wrote."""
        cells = {(second, kind): Cell.from_json(cell) for second, kind, cell in document["cells"]}
        return cls(cells, Histogram(document["lateness"]), document["examples"], document["cpu_seconds"])

    @classmethod
    def sum_of(cls, records: Iterable[Record]) -> Record:
        """Add the records of several processes."""
        every = list(records)
        places = sorted({place for one in every for place in one.cells})
        total = cls(
            {place: Cell.sum_of(one.cells[place] for one in every if place in one.cells) for place in places},
            Histogram.sum_of(one.lateness for one in every),
            cpu_seconds=sum(one.cpu_seconds for one in every),
        )
        for one in every:
            for name, details in one.examples.items():
                for detail in details:
                    total.add_example(name, detail)
        return total


EXAMPLES = 5
"""Kept of each name. A guess: enough to see what is meant."""

EXAMPLE_CHARACTERS = 300
"""A guess."""
