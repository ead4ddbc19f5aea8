"""Connections of the listener, each with one client that sends what it likes: for the suite and for long runs.

    python -m tests.responders.fuzzed_listener [--requests 100000] [--seed N]

says what was answered how often, and how much the memory grew; it fails on a crash, a hang or a 500.
"""

from __future__ import annotations

import argparse
import re
import socket
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

import trio

from engine.clock import SystemClock
from engine.metrics.registry import Metrics
from engine.status.status_store import StatusReader
from responders.connection_loop import ConnectionLoop
from responders.http_times import whole_seconds
from responders.ocsp_answer import OcspResponder
from responders.ocsp_http import OcspHttp
from tests.judges.toy_authority import ToyAuthority
from tests.responders.bad_requests import bad_requests
from tests.responders.stand_ins import PATH
from tests.responders.synthetic_status import (
    CARDS,
    NEVER_ISSUED,
    NOBODY_FOLLOWS,
    SyntheticStatus,
    configuration,
)

STATUSES = frozenset({b"100", b"200", b"304", b"400", b"404", b"405", b"413", b"431", b"501"})
"""What a client may be told; 501 is for a wish to leave HTTP/1.1 in the middle of a pipeline."""

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d\d\d) [A-Za-z ]+\r\n")
PATIENCE = 60
"""Seconds until a connection counts as hanging. Decides nothing but that."""


async def fuzz(status: SyntheticStatus, requests: int, seed: int) -> Counter[str]:
    """Send bad requests, each on a connection of its own; return how often which HTTP status was the answer."""
    serials = [one.serial for certificates, _ in CARDS.values() for one in certificates] + [NEVER_ISSUED]
    statuses: Counter[str] = Counter()
    with StatusReader(status.directory) as reader:
        responder = OcspResponder(
            reader, configuration(live_signer=None, stale_seconds=NOBODY_FOLLOWS), SystemClock(), None
        )
        http = OcspHttp(responder, whole_seconds(SystemClock()), max_age=300, path=PATH)
        for pieces in islice(bad_requests(seed, serials, status.issuer), requests):
            for told in _STATUS_LINE.findall(await _told(http, pieces)):
                assert told in STATUSES, (told, pieces)
                statuses[told.decode()] += 1
    return statuses


async def _told(http: OcspHttp, pieces: list[bytes]) -> bytes:
    """Everything a client is told until its connection ends."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    told = b""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            connections = ConnectionLoop(http, Metrics())
            connections.add(ours)
            nursery.start_soon(connections.run)
            async with trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as client:
                try:
                    for piece in pieces:
                        await client.send_all(piece)
                        await trio.lowlevel.checkpoint()
                    await client.send_eof()
                except trio.BrokenResourceError:
                    pass  # it was refused before it had sent everything
                async for part in client:
                    told += part
            nursery.cancel_scope.cancel()
    return told


def resident_octets() -> int:
    """How much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def main() -> None:
    """A long run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        status = SyntheticStatus(Path(directory), ToyAuthority())
        status.build()
        trio.run(fuzz, status, options.requests // 10, options.seed)
        before = resident_octets()
        statuses = trio.run(fuzz, status, options.requests, options.seed + 1)
    print(dict(statuses))
    print(f"memory grew by {(resident_octets() - before) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
