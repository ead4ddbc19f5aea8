"""What lies on this host: the published CRLs, and the copy of the status."""

from __future__ import annotations

from pathlib import Path

from engine.config import HostConfiguration
from engine.errors import HomeUnusable
from engine.status.crl_files import PublishedCrl, all_published
from engine.status.status_store import StatusReader
from responders.operator.views import CrlsView, CrlView, StatusStoreView

SHOWN_CRLS = 12
"""Those that end first. A guess: a screen; there is one for each some thousand certificates."""


def look_at_crls(directory: Path, now: int) -> CrlsView:
    """Return the published CRLs. Blocks: it looks at every file.

    Args:
        directory: `[crl].directory`.
        now: seconds since the epoch.
    """
    crls = sorted(all_published(directory), key=lambda crl: (crl.next_update, crl.uri_path))
    return CrlsView(
        len(crls), sum(crl.next_update <= now for crl in crls), [_view(crl) for crl in crls[:SHOWN_CRLS]]
    )


def _view(crl: PublishedCrl) -> CrlView:
    return CrlView(crl.uri_path, crl.this_update, crl.next_update, crl.size)


class StatusStoreLook:
    """Looks at the copy of the status.

    For the event loop: LMDB opens a store once in a process, so looks must not meet.

    Args:
        configuration: the home's settings.
    """

    def __init__(self, configuration: HostConfiguration) -> None:
        self._directory = Path(configuration.ocsp.status_store)
        self._stale_seconds = configuration.ocsp.stale_seconds

    def look(self, now: int, last_change: int | None) -> StatusStoreView | None:
        """Return how current it is; None where there is none.

        Args:
            now: seconds since the epoch.
            last_change: the end of the change feed; None where there is no record.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            with StatusReader(self._directory) as reader:
                freshness = reader.freshness()
        except HomeUnusable:
            return None
        behind = None if last_change is None else max(0, last_change - freshness.sequence)
        is_current = freshness.is_current(now, self._stale_seconds)
        return StatusStoreView(freshness.written_at, is_current, freshness.sequence, behind)
