"""The groups of routes that are asked, each with a front of its own, and what is seen of each while it is asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import trio

from tests.fuzz.client import Connection, Place
from tests.fuzz.good_requests import Good
from tests.fuzz.hostile_requests import hostile_requests
from tests.fuzz.judge import Judge
from tests.fuzz.processes import ServedProcess
from tests.fuzz.raw_requests import Sent

CONNECTIONS = 32
"""At once. A guess: enough that those that wait for nothing do not hold up the others."""

MOST_GROWTH = 4_000_000
"""Octets that a process may have more after the second half than after the first. A guess, above the noise: pymalloc
takes memory by the MB, and a thread's first use of malloc takes some hundred KB. To lose 100 octets a request would
show after 40,000 of them. A fresh web process takes some 15 MB in its first 7,000 requests or so and 5 in the next
60,000: a long run gives each process a first half that is longer than that."""

WARM_UP_REQUESTS = 3_500
"""In the first half, before growth in the second is judged by `MOST_GROWTH`."""

MOST_WARM_UP = 25_000_000
"""Octets that a process may grow in the second half of a run shorter than its warm-up: what the feed front, which takes
the most, took in the whole of a long one."""

OTHERS = 2
"""Sockets of a process that are not ours: the public host follows the feed meanwhile."""

SETTLING_SECONDS = 60.0
"""How long a server may take to be rid of connections that have ended. Decides nothing but that."""


@dataclass
class Group:
    """Some routes, behind one front.

    Attributes:
        name: for the table.
        place: where they are.
        good: makes a good request.
        judge: judges answers.
        processes: that answer.
        share: of all requests.
        also: sends so many more requests by other means; returns how many.
        memory: of each process, octets, before and after each half.
        requests: sent so far.
    """

    name: str
    place: Place
    good: Good
    judge: Judge
    processes: list[ServedProcess]
    share: float
    also: Callable[[int, int], int] | None = None
    memory: list[dict[str, int]] = field(default_factory=list)
    requests: int = 0

    async def ask(self, requests: int, seed: int) -> None:
        """Send requests over several connections, and judge what comes back."""
        choice = random.Random(f"{self.name} {seed}")
        if self.also is not None:
            self.requests += await trio.to_thread.run_sync(self.also, requests // 2, seed)
            requests -= requests // 2
        sockets = [one.sockets() for one in self.processes]
        hostile = islice(hostile_requests(choice, self.good), requests)
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(self._ask, hostile)
        await self._settle(sockets)

    async def _ask(self, hostile: Iterator[Sent]) -> None:
        connection = Connection(self.place)
        for sent in hostile:
            self.requests += sent.requests
            try:
                self.judge.judge(sent, await connection.exchange(sent))
            except trio.TooSlowError:
                self.judge.findings.add("the server hangs", sent.octets)
            except OSError as error:
                self.judge.findings.add(f"no connection: {error}", sent.octets)
        await connection.close()

    async def _settle(self, sockets: list[int]) -> None:
        """Wait until the processes have as many sockets as before."""
        bounds = [before + OTHERS for before in sockets]
        with trio.move_on_after(SETTLING_SECONDS):
            while True:
                if all(one.sockets() <= bound for one, bound in zip(self.processes, bounds, strict=True)):
                    return
                await trio.sleep(0.1)  # another process closes them, and nobody tells
        now = [one.sockets() for one in self.processes]
        self.judge.findings.add(f"sockets are left open: {sockets} before, {now} now", b"")

    def look_at_memory(self) -> None:
        """Note what each process has now."""
        self.memory.append({f"{one.name} {one.pid}": one.memory() for one in self.processes})

    def judge_memory(self) -> None:
        """Compare what each process has after the second half with what it had after the first."""
        _, middle, after = self.memory
        most = MOST_GROWTH if self.requests >= 2 * WARM_UP_REQUESTS else MOST_WARM_UP
        for name, octets in after.items():
            if octets - middle[name] > most:
                self.judge.findings.add(
                    f"the memory of {name} grew from {middle[name]} to {octets} octets", b""
                )
