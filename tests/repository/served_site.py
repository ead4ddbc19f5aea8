"""Serves the sample site on loopback: `python -m tests.repository.served_site DIRECTORY`.

It says its port, and ends with its standard input.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from pathlib import Path

import trio

from engine.clock import SetClock
from engine.status.status_store import StatusReader
from responders.web_process import hypercorn_settings
from responders.web_server import serve_web
from tests.judges.toy_authority import NOW
from tests.repository.sample_site import SampleSite


async def serve(directory: Path) -> None:
    site = SampleSite(directory, SetClock(NOW))
    site.fill()
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, StatusReader(site.status.directory) as reader:
        async with trio.open_nursery() as nursery:
            settings = hypercorn_settings(os.dup(listening.fileno()))
            await nursery.start(partial(serve_web, site.application(reader), settings, trio.sleep_forever))
            print(listening.getsockname()[1], flush=True)
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]))
