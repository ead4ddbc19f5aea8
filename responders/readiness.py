"""Whether this host may be asked: its status store is current, and no CRL it serves is past its nextUpdate."""

from __future__ import annotations

from pathlib import Path

from engine.clock import Clock
from engine.config import HostConfiguration
from engine.errors import SealmintError
from engine.status.crl_files import all_published
from engine.status.status_store import StatusReader
from responders.http_times import http_date

MOST_REASONS = 20
"""A guess: whoever looks wants to know what is wrong, not all of it."""


class Readiness:
    """Says why this host should not be asked.

    Args:
        configuration: the home's settings.
        reader: the status store.
        clock: tells the time.
    """

    def __init__(self, configuration: HostConfiguration, reader: StatusReader, clock: Clock) -> None:
        self._reader = reader
        self._stale_seconds = configuration.ocsp.stale_seconds
        self._crls = Path(configuration.crl.directory)
        self._clock = clock

    def status_store_reasons(self) -> list[str]:
        """Return what is wrong with the status store. For the event loop that the reader belongs to."""
        try:
            self._reader.reopen_if_replaced()
            freshness = self._reader.freshness()
        except SealmintError as error:
            return [str(error)]
        if freshness.is_current(self._now(), self._stale_seconds):
            return []
        return [f"the status store was last kept up to date at {http_date(freshness.written_at).decode()}"]

    def crl_reasons(self) -> list[str]:
        """Return which CRLs are past their nextUpdate. Blocks: it looks at every file."""
        now = self._now()
        return [
            f"the CRL at {crl.uri_path} ended at {http_date(crl.next_update).decode()}"
            for crl in all_published(self._crls)
            if crl.next_update <= now
        ][:MOST_REASONS]

    def _now(self) -> int:
        return int(self._clock.now().timestamp())
