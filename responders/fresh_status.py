"""The status store as those see it who answer from it: looked at once a second, trusted only while it is current."""

from __future__ import annotations

from typing import Protocol

from engine.status.parties import KnownIssuer
from engine.status.status_store import CertificateStanding, Freshness, PresignedAnswer
from responders.known_questions import KnownIssuers


class StatusReading(Protocol):
    """What a `StatusReader` does, as far as answers need it."""

    @property
    def issuers(self) -> tuple[KnownIssuer, ...]:
        """The CA keys that are answered for."""
        ...

    def presigned(self, issuer: int, serial: bytes, now: int) -> PresignedAnswer | None:
        """The signed answer for a certificate; None where there is none to be used."""
        ...

    def standing(self, issuer: int, serial: bytes) -> CertificateStanding | None:
        """What a certificate is worth; None where it was never issued."""
        ...

    def freshness(self) -> Freshness:
        """When the store was last known to be current."""
        ...

    def reopen_if_replaced(self) -> bool:
        """Change over to a rebuilt store."""
        ...


class FreshStatus:
    """A status reader with what is looked up in it once a second.

    Args:
        reader: the host's status store.
        stale_seconds: `[ocsp].stale_seconds`.

    Attributes:
        reader: the same.
        issuers: the CA keys that are answered for; another object when they change.
        known: finds them by what a CertID says.
        is_fresh: whether the store may be trusted.
        known_at: when the follower last said that the store is current; seconds since the epoch.
    """

    def __init__(self, reader: StatusReading, stale_seconds: int) -> None:
        self.reader = reader
        self.issuers: tuple[KnownIssuer, ...] = ()
        self.known = KnownIssuers(())
        self.is_fresh = False
        self.known_at = 0
        self._stale_seconds = stale_seconds
        self._looked_at = -1

    def look(self, now: int) -> bool:
        """See whether the store is another one, has other issuers, and is current; return whether it was looked at.

        Args:
            now: seconds since the epoch; within the same second, nothing is done.

        Raises:
            StoreError: the store cannot be read; it is not trusted until it can.
        """
        if now == self._looked_at:
            return False
        self._looked_at = now
        self.is_fresh = False
        self.reader.reopen_if_replaced()
        if self.reader.issuers is not self.issuers:
            self.issuers = self.reader.issuers
            self.known = KnownIssuers(self.issuers)
        freshness = self.reader.freshness()
        self.known_at = freshness.written_at
        self.is_fresh = freshness.is_current(now, self._stale_seconds)
        return True
