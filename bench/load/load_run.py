"""One load: locust's processes, and beside them what samples the server and what changes things on it."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import trio

from bench.load.changes import IssuingRun, StatusChanges
from bench.load.plan import LoadPlan
from bench.load.record import Record
from bench.load.server_samples import ServerSamples
from engine.errors import SealmintError

LOCUSTFILE = Path(__file__).parent.parent / "locustfile.py"

SPARE_SECONDS = 60.0
"""How much longer than its schedule a load may take before locust ends it. A guess: processes have to start."""

LOOK_SECONDS = 0.2
"""Between two looks at the processes' progress."""


@dataclass(slots=True)
class Beside:
    """What happens beside the load; each may be missing."""

    samples: ServerSamples | None = None
    changes: StatusChanges | None = None
    issuing: IssuingRun | None = None


@dataclass(slots=True)
class Progress:
    """How far the load is: sums over its processes."""

    began: float | None = None
    """On the monotonic clock; None until it has begun."""
    counts: dict[str, int] = field(default_factory=dict)


async def run_load(plan: LoadPlan, beside: Beside, show: Callable[[Progress], None]) -> Record:
    """Run a load to its end and return what was counted. Cancelled, it ends its processes.

    Args:
        plan: the load; its directory exists and is empty.
        beside: what happens meanwhile.
        show: told how far it is, some times a second.

    Raises:
        SealmintError: a process of the load ended before its time; why is in locust.log in the plan's directory.
    """
    plan.file.write_text(plan.model_dump_json(indent=1))
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_accompany, plan, beside, show, over)
        with (plan.directory / "locust.log").open("wb") as log:
            done = await trio.run_process(_locust(plan), stdout=log, stderr=log, check=False)
        over.set()
        if done.returncode or not all(plan.counted(index).exists() for index in range(plan.processes)):
            raise SealmintError(
                "a process of the load ended before its time",
                place=str(plan.directory / "locust.log"),
                value=done.returncode,
            )
    return Record.sum_of(
        Record.from_json(orjson.loads(plan.counted(index).read_bytes())) for index in range(plan.processes)
    )


def _locust(plan: LoadPlan) -> list[str]:
    """The command that starts locust's processes; with one, there is no master and no port."""
    wanted = plan.scenario
    longest = math.ceil(wanted.curve.seconds + wanted.patience + wanted.timeout + SPARE_SECONDS)
    command = [sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--plan", str(plan.file), "--users", str(wanted.connections), "--run-time", f"{longest}s"]
    command += ["--spawn-rate", str(wanted.connections), "--exit-code-on-error", "0", "--stop-timeout", "0"]
    if plan.processes > 1:
        port = str(_free_port())
        command += ["--processes", str(plan.processes), "--master-host", "127.0.0.1", "--master-port", port]
        command += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    return command


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


async def _accompany(
    plan: LoadPlan, beside: Beside, show: Callable[[Progress], None], over: trio.Event
) -> None:
    """Wait for the beginning, then do what is done beside the load until it is over."""
    while (progress := _progress(plan)).began is None:  # noqa: ASYNC110 - other processes say it, in files
        await trio.sleep(LOOK_SECONDS)
    began = progress.began
    async with trio.open_nursery() as to_its_end:
        if beside.issuing is not None:
            to_its_end.start_soon(beside.issuing.run, began, over)
        async with trio.open_nursery() as until_over:
            if beside.samples is not None:
                until_over.start_soon(beside.samples.take, began)
            if beside.changes is not None:
                until_over.start_soon(beside.changes.run, began)
            while not over.is_set():
                show(_progress(plan))
                await trio.sleep(LOOK_SECONDS)
            until_over.cancel_scope.cancel()
    show(_progress(plan))


def _progress(plan: LoadPlan) -> Progress:
    found = Progress()
    for index in range(plan.processes):
        told: dict[str, Any] = {}
        with suppress(OSError):
            told = orjson.loads(plan.progress(index).read_bytes())
        began = told.pop("began", None)
        if began is not None and began < time.monotonic():
            found.began = began
        for name, count in told.items():
            found.counts[name] = found.counts.get(name, 0) + int(count)
    return found
