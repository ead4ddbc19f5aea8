"""Whether a command that a unit, a container or the guide gives is one of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from engine.cli.main import command_line


def check_command(words: Sequence[str]) -> None:
    """Read a command as the command line would, without running it.

    Args:
        words: without the program.

    Raises:
        KeyError: there is no such command.
        typer.TyperException: an option is unknown, missing, or its value is no such.
    """
    command, rest = _command(words)
    command.make_context(" ".join(words), rest)


def check_names(words: Sequence[str]) -> None:
    """Check the names of a command and of its options; what the values are is not looked at.

    Raises:
        KeyError: there is no such command.
        AssertionError: there is no such option.
    """
    command, rest = _command(words)
    known = {name for parameter in command.params for name in parameter.opts}
    unknown = {word for word in rest if word.startswith("--")} - known
    assert not unknown, (list(words), unknown)


def _command(words: Sequence[str]) -> tuple[Any, list[str]]:
    command: Any = typer.main.get_command(command_line())
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return command, rest
