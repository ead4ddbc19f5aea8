"""What every process says of itself: processor, memory, open files, when it began."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from engine.metrics.catalogue import (
    LOG_RECORDS,
    PROCESS_CPU_SECONDS,
    PROCESS_OPEN_FILES,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
)
from engine.metrics.registry import Metrics
from engine.metrics.spending import process_cpu_microseconds

_STATM = Path("/proc/self/statm")
_LEVELS = ("debug", "info", "warning", "error")
_DESCRIPTORS = Path("/proc/self/fd")


def observe_process(metrics: Metrics) -> None:
    """Have the metrics of this process say what it spends, whenever they are read."""
    metrics.gauge(PROCESS_START_TIME).set(_started_at())
    spent = metrics.counter(PROCESS_CPU_SECONDS)
    resident = metrics.gauge(PROCESS_RESIDENT_MEMORY)
    files = metrics.gauge(PROCESS_OPEN_FILES)

    def look() -> None:
        spent.reach(process_cpu_microseconds() / 1e6)
        resident.set(resident_bytes())
        files.set(len(os.listdir(_DESCRIPTORS)))  # noqa: PTH208 - names only, and they are counted only

    metrics.before_reading(look)


def count_log_lines(metrics: Metrics) -> Callable[[str], None]:
    """Return what counts a line of the log by its level (`engine.json_log.json_log`)."""
    lines = {level: metrics.counter(LOG_RECORDS, level=level) for level in _LEVELS}
    other = lines[_LEVELS[-1]]
    return lambda level: lines.get(level, other).add()


def resident_bytes() -> int:
    """Return how much memory this process has resident (proc(5), statm)."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _started_at() -> float:
    """When this process began, in seconds since the epoch (proc(5), stat, field 22; after the name come the others)."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    since_boot = ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
