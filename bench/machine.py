"""What machine a figure comes from."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Return processor, memory, versions and load: what a figure cannot be read without."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    softhsm = subprocess.run(["softhsm2-util", "--version"], capture_output=True, text=True, check=False)
    return {
        "processor": model,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "softhsm": softhsm.stdout.strip(),
        "packages": {name: version(name) for name in ("cryptography", "python-pkcs11", "sqlalchemy", "trio")},
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }
