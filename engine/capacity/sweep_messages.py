"""What a sweep and its worker processes say to each other: one JSON object a line, over the worker's pipes.

The PIN travels here and nowhere else: never in the arguments or the environment of a process.
"""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from engine.algorithms import SignatureAlgorithm

MESSAGE_OCTETS = 1_200
"""Octets of a message that is signed: about a tbsCertificate, which a token that hashes by itself has to be sent. A
guess."""


class _Message(BaseModel):
    # hide_input_in_errors: what cannot be read is not shown, for it may hold the PIN
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Start(_Message):
    """Sweep to worker, first: the token and the key."""

    home: str
    key: str
    algorithm: SignatureAlgorithm
    pin: SecretStr


class Prepare(_Message):
    """Sweep to worker: open a pool of so many sessions."""

    message: Literal["prepare"] = "prepare"
    sessions: int


class Measure(_Message):
    """Sweep to worker: keep the pool's sessions busy, and tell what they did; then close the pool.

    The messages signed are `announced_message(text, number)` for numbers below the limit, and no others.
    """

    message: Literal["measure"] = "measure"
    text: str
    limit: int
    batch: int
    warm_up_seconds: float
    seconds: float


class Ready(_Message):
    """Worker to sweep: it has the token; or its pool is open."""

    message: Literal["ready"] = "ready"
    sessions: int


class Durations(_Message):
    """Milliseconds."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Measured(_Message):
    """Worker to sweep: what a slice brought.

    Attributes:
        seconds: how long it was measured: shorter than asked where the limit was reached.
        signatures: made in that time; of calls that reached beyond it, the share within.
        signed: how many messages were given to the token in all, warm-up included.
        call: how long the token took for a signature.
        wait: how long chunks waited for a session.
        cpu_seconds: of the process in that time.
    """

    message: Literal["measured"] = "measured"
    seconds: float
    signatures: float
    signed: int
    call: Durations
    wait: Durations
    cpu_seconds: float


class Failed(_Message):
    """Worker to sweep, last: it cannot go on."""

    message: Literal["failed"] = "failed"
    error: str
    text: str
    signed: int


ToWorker = Annotated[Prepare | Measure, Field(discriminator="message")]
to_worker: TypeAdapter[ToWorker] = TypeAdapter(ToWorker)
FromWorker = Annotated[Ready | Measured | Failed, Field(discriminator="message")]
from_worker: TypeAdapter[FromWorker] = TypeAdapter(FromWorker)


def announced_message(text: str, number: int) -> bytes:
    """Return a message that is signed: what the audit record says, and the number, filled up with points."""
    return f"{text} {number} ".encode().ljust(MESSAGE_OCTETS, b".")


def encode_start(start: Start) -> bytes:
    """Return the first message as a line, with the PIN in clear: for the worker's pipe only."""
    return orjson.dumps(start.model_dump(mode="json") | {"pin": start.pin.get_secret_value()}) + b"\n"
