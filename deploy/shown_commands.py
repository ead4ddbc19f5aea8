"""The product's commands as the demonstration gives them: shown as a person would type them, then run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

SEALMINT = [sys.executable, "-P", "-m", "engine.cli.main"]


def heading(text: str) -> None:
    """Print what comes next."""
    print(f"\n== {text}", flush=True)


def show(program: str, *arguments: str) -> None:
    """Show a command as a person would type it."""
    print("$", program, shlex.join(arguments), flush=True)


def sealmint(*arguments: str) -> None:
    """Show a command and run it; its output is seen, and its failure is ours."""
    show("sealmint", *arguments)
    finished = subprocess.run([*SEALMINT, *arguments], check=False)
    if finished.returncode != 0:
        sys.exit(finished.returncode)


def ask(*arguments: str) -> dict[str, Any]:
    """Run a command for its JSON."""
    finished = subprocess.run([*SEALMINT, *arguments, "--json"], stdout=subprocess.PIPE, check=False)
    if finished.returncode != 0:
        sys.exit(finished.returncode)
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def name(path: Path) -> str:
    """Return a path as short as a person would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
