"""What is said over a control socket: one JSON object on a line each way, and then the connection ends.

asked      {"verb": "pool-resize", "arguments": {"sessions": 4}}
answered   {"answer": {...}}  or  {"error": {"class": "InputRejected", "message": "...", "exit_code": 3}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import trio

from engine import errors
from engine.errors import InputRejected, SealmintError

MOST_OCTETS = 1 << 20
"""Of a line. A guess: fifty times what a process with 64 sessions says of its pool."""

_PART_OCTETS = 1 << 16
"""Read at a time. A guess: most lines come in one part."""

Document = Mapping[str, Any]


async def receive_line(stream: trio.abc.ReceiveStream) -> Document | None:
    """Read a line; None where the other end closed without a word.

    Raises:
        InputRejected: the line is longer than `MOST_OCTETS`, does not end, or is no JSON object.
        trio.BrokenResourceError: the other end is gone.
    """
    said = bytearray()
    while not said.endswith(b"\n"):
        part = await stream.receive_some(_PART_OCTETS)
        said += part
        if len(said) > MOST_OCTETS:
            raise InputRejected("the line is too long", value=len(said), rule=f"at most {MOST_OCTETS} octets")
        if not part:
            break
    if not said:
        return None
    try:
        document = orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise InputRejected("the line is not JSON", rule=str(error)) from error
    if not isinstance(document, dict):
        raise InputRejected("the line is no JSON object", value=type(document).__name__)
    return document


def line(document: Document) -> bytes:
    """Return a document as a line.

    Raises:
        InputRejected: it is too long for the other end to take.
    """
    octets = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    if len(octets) > MOST_OCTETS:
        raise InputRejected("the line is too long", value=len(octets), rule=f"at most {MOST_OCTETS} octets")
    return octets


def error_document(error: SealmintError) -> Document:
    """Return an error of ours as it is answered: with all that its message says."""
    body = {"class": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    return {"error": body}


def error_from(document: Document) -> SealmintError:
    """Return the error that was answered, as the class of ours that it was, or the plain one with its exit code."""
    kind = getattr(errors, str(document.get("class")), SealmintError)
    if not (isinstance(kind, type) and issubclass(kind, SealmintError)):
        kind = SealmintError
    error: SealmintError = kind(str(document.get("message")))
    error.exit_code = int(document.get("exit_code", SealmintError.exit_code))
    return error
