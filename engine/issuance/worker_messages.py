"""What a worker process and its supervisor say to each other: one JSON object a line, over the worker's pipes.

The PIN travels here and nowhere else: never in the arguments or the environment of a process.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter


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
    place: int = 0
    """Which of the workers it is: another in its place has the same, for its name among the metrics."""
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
    """Worker to supervisor: nothing is signed at present; with neither: it is again."""

    message: Literal["waiting"] = "waiting"
    until: str | None = None
    """When the run window opens."""
    awaited: str | None = None
    """`the token: …`, with what it said, where it is away."""


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
    awaited: str | None
    """What has to come back before a new process succeeds where this one could not, and what it said; None where a new
    process would not succeed either."""


FromWorker = Annotated[Ready | UnitDone | Waiting | Finished | Failed, Field(discriminator="message")]
from_worker: TypeAdapter[FromWorker] = TypeAdapter(FromWorker)


def encode_start(start: Start) -> bytes:
    """Return the first message as a line, with the PIN in clear: for the worker's pipe only."""
    fields = start.model_dump(mode="json") | {"pin": start.pin.get_secret_value()}
    return TypeAdapter(dict[str, object]).dump_json(fields) + b"\n"
