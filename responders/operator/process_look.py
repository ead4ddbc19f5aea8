"""What the running processes say of themselves, and what their pools add up to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from engine.control.client import ProcessUnreachable, RunningProcess, ask, running_processes
from engine.errors import HomeUnusable, InputRejected, SealmintError
from engine.pkcs11.lanes import Lane
from responders.operator.views import LaneView, ProcessView

Answers = list[tuple[RunningProcess, dict[str, Any]]]


VERBS = ("describe", "metrics", "pool", "token-health")
"""What every process is asked; who does not know the word has nothing to say about it."""


async def ask_each(directory: Path, verbs: Sequence[str], faults: list[str]) -> dict[str, Answers]:
    """Ask every running process everything, all at the same time.

    One that ends meanwhile, or is too busy to answer in time, is left out; one that refuses is a fault, and hides no
    other.

    Args:
        directory: `[control].directory`.
        verbs: what to ask.
        faults: here is said what could not be asked.
    """
    answers: dict[tuple[str, RunningProcess], dict[str, Any]] = {}

    async def ask_one(verb: str, process: RunningProcess) -> None:
        try:
            answers[verb, process] = await ask(process, verb)
        except (ProcessUnreachable, InputRejected):
            return
        except SealmintError as error:
            faults.append(f"{process.name}: {error}")

    try:
        listed = running_processes(directory)
    except HomeUnusable as error:
        faults.append(str(error))
        listed = []
    async with trio.open_nursery() as nursery:
        for verb in verbs:
            for process in listed:
                nursery.start_soon(ask_one, verb, process)
    return {
        verb: [(process, answers[verb, process]) for process in listed if (verb, process) in answers]
        for verb in verbs
    }


class ProcessLook:
    """Turns CPU seconds into CPUs: remembers what each process had spent."""

    def __init__(self) -> None:
        self._before: dict[RunningProcess, tuple[float, float]] = {}

    def processes(self, described: Answers, at: float) -> list[ProcessView]:
        """Return the processes.

        Args:
            described: their answers to "describe".
            at: seconds of a clock that is never set.
        """
        views = []
        for process, answer in described:
            spent = float(answer["cpu_seconds"])
            before = self._before.get(process)
            busy = None if before is None or at <= before[0] else (spent - before[1]) / (at - before[0])
            views.append(
                ProcessView(
                    process.name,
                    process.pid,
                    float(answer["uptime_seconds"]),
                    int(answer["memory_bytes"]),
                    None if busy is None else round(max(0.0, busy), 3),
                )
            )
        self._before = {process: (at, float(answer["cpu_seconds"])) for process, answer in described}
        return views


def named(answers: Answers) -> list[dict[str, Any]]:
    """Return answers with the name and number of the process that gave them."""
    return [{"process": process.name, "pid": process.pid, **answer} for process, answer in answers]


def lanes_of(pools: list[dict[str, Any]]) -> list[LaneView]:
    """Add the lanes of all pools up; all five, highest first."""
    return [_lane(lane.label, [pool["lanes"].get(lane.label) for pool in pools]) for lane in Lane]


def _lane(label: str, found: list[dict[str, Any] | None]) -> LaneView:
    lanes = [lane for lane in found if lane is not None]
    recent = [lane["recent"] for lane in lanes]
    waits = [part["wait"] for part in recent if part["wait"]["count"]]

    def total(name: str) -> int:
        return sum(int(lane[name]) for lane in lanes)

    def worst(name: str) -> float | None:
        return max((float(wait[name]) for wait in waits), default=None)

    return LaneView(
        lane=label,
        waiting=total("waiting"),
        in_flight=total("in_flight"),
        served=total("done"),
        refused=total("refused"),
        per_second=round(sum(float(part["done_per_second"]) for part in recent), 3),
        p50_ms=worst("p50_ms"),
        p95_ms=worst("p95_ms"),
        p99_ms=worst("p99_ms"),
    )
