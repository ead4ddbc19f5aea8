"""What a process spent, step by step: CPU of the thread at work, so that waiting is not counted as work."""

from __future__ import annotations

import resource
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class StepMeter:
    """Adds up CPU time by step. Threads may use one meter side by side, each in steps of its own."""

    def __init__(self) -> None:
        self._nanoseconds: dict[str, int] = defaultdict(int)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the CPU time of this thread within the block to a step."""
        start = time.thread_time_ns()
        try:
            yield
        finally:
            self._nanoseconds[name] += time.thread_time_ns() - start

    def add(self, name: str, nanoseconds: int) -> None:
        """Count CPU time that was measured elsewhere to a step."""
        self._nanoseconds[name] += nanoseconds

    def microseconds(self) -> Mapping[str, float]:
        """Return the CPU time of every step so far, in microseconds."""
        return {name: spent / 1_000 for name, spent in sorted(self._nanoseconds.items())}


def threads_cpu_microseconds(name_prefix: str) -> float:
    """Return the CPU time of this process's threads whose names begin so, in microseconds."""
    return sum(
        time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) * 1e6
        for thread in threading.enumerate()
        if thread.name.startswith(name_prefix) and thread.ident is not None
    )


def process_cpu_microseconds() -> float:
    """Return user and system CPU time of this process so far, in microseconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e6


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far, in megabytes (10^6)."""
    # Linux counts ru_maxrss in KiB; a child starts with the size its parent had when it was forked, so the
    # kernel's own high-water mark of this address space is read instead (proc(5), VmHWM).
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - not a path of ours
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
