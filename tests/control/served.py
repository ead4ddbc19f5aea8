"""A control server that runs in this process, and ways to talk to it that a well-behaved client has not."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import trio

from engine.control.client import RunningProcess
from engine.control.server import ControlServer
from engine.metrics.registry import Metrics
from engine.unix_sockets import connect_unix


async def serve(nursery: trio.Nursery, directory: Path, name: str = "listener-1") -> ControlServer:
    """Start a server; it listens when this returns."""
    server = ControlServer(directory, name, Metrics())
    await nursery.start(server.serve)
    return server


def as_process(server: ControlServer) -> RunningProcess:
    return RunningProcess(server.name, os.getpid(), server.path)


async def say(server: ControlServer, octets: bytes, *, finish: bool = True) -> dict[str, object]:
    """Send octets as they are; return what is answered."""
    stream = await connect_unix(server.path)
    async with stream:
        try:
            await stream.send_all(octets)
            if finish:
                await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # it had heard enough
        answered = bytearray()
        while part := await stream.receive_some(4_096):
            answered += part
    document: dict[str, object] = orjson.loads(answered)
    return document
