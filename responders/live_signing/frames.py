"""Frames on a stream: request number and length, four octets each (big-endian), then that many octets.

A request is an OCSPRequest, its answer, with the same number, an OCSPResponse; both DER. Answers come in any order, so
many requests can be on their way at once. An answer of no octets is a tryLater for want of room: whoever gets it knows
how many of its own may be on their way.
"""

from __future__ import annotations

from struct import Struct

import trio

MAX_RESPONSE_OCTETS = 65_536
"""A guess: four times the largest request, of which an answer repeats the CertIDs."""

NO_ROOM = b""
"""The answer to a request for which there is no room."""

NUMBERS = 1 << 32
_HEAD = Struct(">II")
_READ_OCTETS = 65_536
_BACKLOG_OCTETS = 262_144
"""Octets waiting to be written at which senders wait. A guess: a few hundred answers."""


class Frames:
    """Sends and receives frames. One task receives, one runs `write`, any number send.

    Args:
        stream: the connection.
        most_octets: of a frame that may come in.
        patience: seconds the other end may take to read what is written.
    """

    def __init__(self, stream: trio.abc.Stream, *, most_octets: int, patience: float) -> None:
        self._stream = stream
        self._most_octets = most_octets
        self._patience = patience
        self._arrived = bytearray()
        self._outgoing: list[bytes] = []
        self._backlog = 0
        self._finished = False
        self._something = trio.Event()
        self._room = trio.lowlevel.ParkingLot()

    async def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame's number and content; None when the other end has finished.

        Cancelled, it may have read part of a frame: only a closing follows.

        Raises:
            trio.BrokenResourceError: the connection broke, or the frame is too long.
        """
        head = await self._take(_HEAD.size)
        if head is None:
            return None
        number, length = _HEAD.unpack(head)
        if length > self._most_octets:
            raise trio.BrokenResourceError(f"a frame of {length} octets; at most {self._most_octets}")
        content = await self._take(length)
        return None if content is None else (number, content)

    async def _take(self, count: int) -> bytes | None:
        while len(self._arrived) < count:
            some = await self._stream.receive_some(_READ_OCTETS)
            if not some:
                return None
            self._arrived += some
        octets = bytes(self._arrived[:count])
        del self._arrived[:count]
        return octets

    async def send(self, number: int, content: bytes) -> None:
        """Have a frame written; waits only while too much is waiting already. Cancelled then, it is not sent."""
        while self._backlog > _BACKLOG_OCTETS:
            await self._room.park()
        self._outgoing += (_HEAD.pack(number, len(content)), content)
        self._backlog += _HEAD.size + len(content)
        self._something.set()

    def finish(self) -> None:
        """Let `write` return once all is written; nothing is sent any more."""
        self._finished = True
        self._something.set()

    async def write(self) -> None:
        """Write what is sent, until `finish`: as much as there is with each call.

        Raises:
            trio.BrokenResourceError: the connection broke, or the other end does not read.
        """
        while self._outgoing or not self._finished:
            await self._something.wait()
            self._something = trio.Event()
            octets = b"".join(self._outgoing)
            self._outgoing.clear()
            self._backlog = 0
            self._room.unpark_all()
            try:
                with trio.fail_after(self._patience):
                    await self._stream.send_all(octets)
            except trio.TooSlowError as error:
                raise trio.BrokenResourceError("the other end does not read") from error
