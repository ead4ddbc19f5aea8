"""A process that works for another one: what both say to each other, a line a message, over the worker's pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NoReturn

import trio
from pydantic import BaseModel

MAXIMUM_LINE = 1 << 20
"""Octets of a message at most. A guess: the largest, a worker's final statistics, has a few thousand."""


def encode(message: BaseModel) -> bytes:
    """Return a message as a line; a secret in it is masked."""
    return message.model_dump_json().encode() + b"\n"


async def lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream until it ends; a line longer than a message may be ends it too."""
    buffer = bytearray()
    while len(buffer) < MAXIMUM_LINE:
        chunk = await stream.receive_some()
        if not chunk:
            return
        buffer += chunk
        *whole, rest = buffer.split(b"\n")
        buffer = bytearray(rest)
        for line in whole:
            yield bytes(line)


def serve_over_pipes(
    serve: Callable[[trio.abc.ReceiveStream, trio.abc.SendStream], Awaitable[int]],
) -> NoReturn:
    """Run a worker over its standard input and output, and exit with the status it returns.

    Args:
        serve: does the work.
    """

    async def run() -> int:
        # File descriptors of their own: what the module or a library prints must not get between the messages.
        stdin = trio.lowlevel.FdStream(os.dup(0))
        out = trio.lowlevel.FdStream(os.dup(1))
        os.dup2(2, 1)
        async with stdin, out:
            return await serve(stdin, out)

    sys.exit(trio.run(run))
