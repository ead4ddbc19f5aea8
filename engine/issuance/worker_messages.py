"""What a worker process and its supervisor say to each other: one JSON object a line, over the worker's pipes.

The PIN travels here and nowhere else: never in the arguments or the environment of a process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Literal

import trio
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

MAXIMUM_LINE = 1 << 20
"""Octets of a message at most. A guess: the largest, the final statistics, has a few thousand."""


class _Message(BaseModel):
    # hide_input_in_errors: what cannot be read is not shown, for it may hold the PIN
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Start(_Message):
    """Supervisor to worker, first: what to work on."""

    home: str
    run_id: int
    holder: str
    sessions: int
    workers: int
    draining: bool
    """Only complete what is reserved (the run is being aborted)."""
    pin: SecretStr


class Ready(_Message):
    """Worker to supervisor: the sessions are open and the key is proven."""

    message: Literal["ready"] = "ready"
    process: int
    sessions: int


class UnitDone(_Message):
    """Worker to supervisor: a unit is committed."""

    message: Literal["unit-done"] = "unit-done"
    issued: int
    failed: int


class Waiting(_Message):
    """Worker to supervisor: nothing may be signed before this time (a run window)."""

    message: Literal["waiting"] = "waiting"
    until: str


class Finished(_Message):
    """Worker to supervisor, last: why it stops and what it spent."""

    message: Literal["finished"] = "finished"
    cpu_microseconds: float
    steps_microseconds: dict[str, float]
    peak_memory_mb: float
    waits: dict[str, float]
    """Seconds that the token side waited for work, that finished units waited for the store, and the pool's own."""
    replaced_sessions: int
    errors: dict[str, int]


class Failed(_Message):
    """Worker to supervisor, last: it cannot go on."""

    message: Literal["failed"] = "failed"
    error: str
    text: str
    replace: bool
    """Whether a new process may succeed where this one cannot (stuck sessions)."""


FromWorker = Annotated[Ready | UnitDone | Waiting | Finished | Failed, Field(discriminator="message")]
from_worker: TypeAdapter[FromWorker] = TypeAdapter(FromWorker)


def encode(message: BaseModel) -> bytes:
    """Return a message as a line. Only `Start` holds a secret, and it is written by `encode_start`."""
    return message.model_dump_json().encode() + b"\n"


def encode_start(start: Start) -> bytes:
    """Return the first message as a line, with the PIN in clear: for the worker's pipe only."""
    fields = start.model_dump(mode="json") | {"pin": start.pin.get_secret_value()}
    return TypeAdapter(dict[str, object]).dump_json(fields) + b"\n"


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
