"""The live signer as a process that records its journal all the time instead of every minute."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.prepared_home import ROOT, environment
from tests.status.ocsp_home import OcspHome, RunningService

SETTINGS = """
[ocsp]
stale_seconds = 1000000  # no follower runs here
live_timeout = 240
"""

_RUN = """
import engine.audit.digest_journal
engine.audit.digest_journal.INTERVAL_SECONDS = {interval}
from engine.status.service import run_service
from responders.live_signer import serve
run_service("live-signer", serve)
"""


@contextmanager
def live_signer(home: OcspHome, *, interval: float) -> Iterator[RunningService]:
    """Run the process; it is killed when the block ends.

    Args:
        home: with a status store, and `SETTINGS`.
        interval: seconds between two audit records.
    """
    log = home.path / "live_signer.log"
    command = [sys.executable, "-P", "-c", _RUN.format(interval=interval), "--home", str(home.path)]
    with (
        log.open("wb") as said,
        subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            yield RunningService(process, log)
        finally:
            process.kill()
