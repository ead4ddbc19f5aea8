"""Whether a command that a unit, a container or the guide gives is one of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from engine.cli.main import app


def check_command(words: Sequence[str]) -> None:
    """Read a command as the command line would, without running it.

    Args:
        words: without the program.

    Raises:
        KeyError: there is no such command.
        typer.TyperException: an option is unknown, missing, or its value is no such.
    """
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    command.make_context(" ".join(words), rest)
