"""What happens on the CA host while the load runs: certificates revoked by the hundred, or a run that is started.

Both through the product's own commands, as an officer would do it: each is a process, with its audit records.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
import trio

from bench.load.expected_status import Acknowledged
from bench.load.popularity import Popularity
from bench.load.scenario import Acts
from bench.load.targets import Targets
from bench.sealmint_command import SEALMINT
from engine.cli.output import EXIT_INCOMPLETE
from engine.store.schema import CertificateState

TICK_SECONDS = 0.5
"""Between two commands that change status; one takes longer than that to start. A guess."""


def subjects(acts: Acts, targets: Targets, popularity: Popularity, seed: int) -> list[bytes]:
    """Return whose status is changed: good certificates, those much asked about first of all.

    Args:
        acts: how many.
        targets: among whom.
        popularity: how they are asked about.
        seed: of the choice.
    """
    choice = random.Random(seed)
    chosen: dict[bytes, None] = {}
    for _ in range(50 * acts.count):  # a draw may hit the same again; where there are too few, so be it
        target = targets[popularity.index(choice.random())]
        if target.state is CertificateState.GOOD:
            chosen[target.serial] = None
        if len(chosen) == acts.count:
            break
    return list(chosen)


class StatusChanges:
    """Changes of status at a rate.

    Args:
        home: the home.
        acts: what is done.
        serials: to whose certificates, in this order.
        acknowledged: where they are written down.
        directory: for the files of acts.

    Attributes:
        result: what was done.
    """

    def __init__(
        self, home: Path, acts: Acts, serials: list[bytes], acknowledged: Acknowledged, directory: Path
    ) -> None:
        self._home = home
        self._acts = acts
        self._serials = serials
        self._acknowledged = acknowledged
        self._file = directory / "acts.csv"
        self.result: dict[str, Any] = {"verb": acts.verb, "acknowledged": 0, "failed": 0}

    async def run(self, began: float) -> None:
        """Change status until all are changed, or until cancelled: a command under way is still waited for.

        Args:
            began: the load's beginning on the monotonic clock.
        """
        asked = 0
        while asked < len(self._serials):
            passed = time.monotonic() - began - self._acts.start
            due = min(len(self._serials), int(passed * self._acts.per_second))
            if due > asked:
                with trio.CancelScope(
                    shield=True
                ):  # a command that is begun is waited for: it may have taken effect
                    await self._change(self._serials[asked:due])
                asked = due
            await trio.sleep(TICK_SECONDS)

    async def _change(self, serials: list[bytes]) -> None:
        self._file.write_text("".join(f"{line}\n" for line in ("serial", *(one.hex() for one in serials))))
        acts = self._acts
        command = [*SEALMINT, "cert", acts.verb, "--file", str(self._file), "--ground", acts.ground]
        done = await trio.run_process(
            [*command, "--home", str(self._home), "--json"],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        moment = time.time()
        if done.returncode not in (0, EXIT_INCOMPLETE):
            self.result["failed"] += len(serials)
            return
        document = orjson.loads(done.stdout)
        touched = [bytes.fromhex(one["serial"]) for one in document["certificates"]]
        self._acknowledged.append(touched, moment)
        self.result["acknowledged"] += len(touched)
        self.result["failed"] += document["failed"]


class IssuingRun:
    """A run beside the load.

    Args:
        home: the home.
        run: its number.
        start: seconds after the load's beginning.

    Attributes:
        result: what it issued.
    """

    def __init__(self, home: Path, run: int, start: float) -> None:
        self._home = home
        self._run = run
        self._start = start
        self.result: dict[str, Any] = {"run": run, "issued": 0}

    async def run(self, began: float, over: trio.Event) -> None:
        """Start it, and let it pause when the load is over. Cancelled, it is asked to pause and not waited for.

        Args:
            began: the load's beginning on the monotonic clock.
            over: set when the load is over.
        """
        before = await self._issued()
        with trio.move_on_after(max(0.0, began + self._start - time.monotonic())):
            await over.wait()
            return
        started = time.monotonic()
        command = [*SEALMINT, "run", "start", str(self._run), "--home", str(self._home), "--json"]
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(_started, command)
            nursery.start_soon(_end_with, process, over)
            await process.wait()
            self.result["seconds"] = round(time.monotonic() - started, 2)
            nursery.cancel_scope.cancel()
        self.result["issued"] = await self._issued() - before
        self.result["exit_code"] = process.returncode
        self.result["per_second"] = round(self.result["issued"] / self.result["seconds"], 1)

    async def _issued(self) -> int:
        command = [*SEALMINT, "run", "status", str(self._run), "--home", str(self._home), "--json"]
        done = await trio.run_process(command, capture_stdout=True)
        return int(orjson.loads(done.stdout)["issued"])


async def _started(command: list[str], task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, task_status=task_status
    )


async def _end_with(process: trio.Process, over: trio.Event) -> None:
    await over.wait()
    process.send_signal(signal.SIGINT)  # pauses the run
