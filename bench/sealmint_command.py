"""The product's commands as the benchmarks give them: a process each, its JSON read."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SEALMINT = (sys.executable, "-P", "-m", "engine.cli.main")

PATIENCE_SECONDS = 7_200
"""How long a command may take. A guess, within which 600,000 entities are planned (docs/performance.md)."""


def sealmint(*arguments: object) -> dict[str, Any]:
    """Run a command of the product and return its JSON.

    Raises:
        subprocess.CalledProcessError: it failed; why is on standard error.
        subprocess.TimeoutExpired: it did not end.
    """
    command = [*SEALMINT, *map(str, arguments), "--json"]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS)
    document: dict[str, Any] = json.loads(finished.stdout)
    return document
