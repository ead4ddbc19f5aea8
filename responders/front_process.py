"""What the processes that answer have in common: how they begin, and how an error of ours ends them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack

import trio

from engine.errors import SealmintError, the_sealmint_error

_Arguments = TypeVarTuple("_Arguments")


def run_front(serve: Callable[[Unpack[_Arguments]], Awaitable[object]], *arguments: *_Arguments) -> None:
    """Run a process that answers to its end; an error of ours is said and becomes the exit code.

    Args:
        serve: answers until it is told to stop.
        arguments: for it.
    """
    try:
        trio.run(serve, *arguments)
    except (SealmintError, BaseExceptionGroup) as raised:
        error = the_sealmint_error(raised)
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
