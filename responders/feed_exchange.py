"""How the process that faces public hosts asks the one that signs the feed: one question a connection.

    question, JSON   LF                        (engine/feed/question.py)
    outcome (2 octets)   length (4)   content  (big-endian; a piece, or a sentence that says why there is none)

Whoever asked and does not want to know any more closes the connection.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from struct import Struct

import trio

from engine.errors import FeedUnavailable
from engine.feed.piece import MOST_PIECE_OCTETS
from engine.unix_sockets import connect_unix

MOST_QUESTION_OCTETS = 2_048
"""A guess: four times what the longest one has."""

_HEAD = Struct(">HI")
_READ_OCTETS = 262_144


class Outcome(IntEnum):
    """What came of a question; the values are those of HTTP (RFC 9110 section 15)."""

    PIECE = 200
    MALFORMED = 400
    DIGEST_UNKNOWN = 404
    POSITION_UNKNOWN = 409
    UNAVAILABLE = 503


async def ask(path: Path, question: bytes) -> tuple[Outcome, bytes]:
    """Ask the process that signs the feed.

    Cancelled, it closes the connection, and the question is dropped at the other end.

    Raises:
        FeedUnavailable: it is away, or went away before it had answered.
    """
    try:
        async with await connect_unix(path) as stream:
            await stream.send_all(question + b"\n")
            outcome, length = _HEAD.unpack(await _take(stream, _HEAD.size))
            if length > MOST_PIECE_OCTETS:
                raise FeedUnavailable("a piece of the feed is too long", place=str(path), value=length)
            return Outcome(outcome), await _take(stream, length)
    except (OSError, trio.BrokenResourceError) as error:
        raise FeedUnavailable(
            "the process that signs the feed is away", place=str(path), value=str(error)
        ) from error


async def _take(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    taken = bytearray()
    while len(taken) < count:
        some = await stream.receive_some(min(count - len(taken), _READ_OCTETS))
        if not some:
            raise trio.BrokenResourceError("it ended before its end")
        taken += some
    return bytes(taken)


async def receive_question(stream: trio.abc.ReceiveStream) -> bytes:
    """Return the question that comes over a new connection.

    Raises:
        trio.BrokenResourceError: it is none, or the connection ended before its end.
    """
    arrived = bytearray()
    while not arrived.endswith(b"\n"):
        some = await stream.receive_some(MOST_QUESTION_OCTETS)
        arrived += some
        if not some or len(arrived) > MOST_QUESTION_OCTETS:
            raise trio.BrokenResourceError("no question came")
    return bytes(arrived[:-1])


async def send_answer(stream: trio.abc.SendStream, outcome: Outcome, content: bytes) -> None:
    """Answer a question.

    Raises:
        trio.BrokenResourceError: whoever asked is gone.
    """
    await stream.send_all(_HEAD.pack(outcome, len(content)))
    await stream.send_all(content)
