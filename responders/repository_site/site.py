"""What the site shows things from: this host's copies, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import trio

from engine.clock import Clock
from engine.config import HostConfiguration
from engine.errors import Overloaded
from engine.repository.certificate_index import CERTIFICATE_INDEX_NAME, CertificateIndex
from engine.repository.publication_copy import PublicationCopy
from engine.status.status_store import StatusReader
from engine.x509.profiles import ProfileSet

READING_AT_ONCE = 4
"""Threads that read files for the site. A guess: the CPUs of a small host, twice."""

WAITING_TO_READ = 64
"""Requests that may wait for one of these; more are told to come again. A guess: what a second's searches take."""

_Arguments = ParamSpec("_Arguments")
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class RepositorySite:
    """The sources of the site. Every one of them is what the feed brought; none can be written from here.

    Attributes:
        index: the accepted certificates.
        publications: documents, news and notices.
        status: the status store; for the event loop of this process.
        stale_seconds: after how long without a sign of life from the feed the status is not told.
        crls: the directory of the CRL files.
        ca: the CA certificate, DER.
        root: the root certificate, DER.
        ca_issuers: the URL of the CA's certificate that certificates carry.
        ocsp: the URL of OCSP that certificates carry.
        clock: tells the time.
    """

    index: CertificateIndex
    publications: PublicationCopy
    status: StatusReader
    stale_seconds: int
    crls: Path
    ca: bytes
    root: bytes
    ca_issuers: str
    ocsp: str
    clock: Clock
    _readers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(READING_AT_ONCE))

    @property
    def now(self) -> int:
        """The time, seconds since the epoch."""
        return int(self.clock.now().timestamp())

    async def read(
        self, function: Callable[_Arguments, _Found], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Found:
        """Call a function that reads files in a thread. Cancelled, it leaves the thread to finish by itself.

        Raises:
            Overloaded: too many are waiting already.
        """
        if self._readers.statistics().tasks_waiting >= WAITING_TO_READ:
            raise Overloaded("too many are searching", place="repository site", rule="try again in a second")
        return await trio.to_thread.run_sync(
            lambda: function(*arguments, **named), abandon_on_cancel=True, limiter=self._readers
        )


def repository_site(
    configuration: HostConfiguration,
    profiles: ProfileSet,
    status: StatusReader,
    clock: Clock,
    *,
    ca: bytes,
    root: bytes,
) -> RepositorySite:
    """Put the sources of a host's site together.

    Args:
        configuration: the home's settings.
        profiles: whose URLs the certificates carry.
        status: the status store of this process.
        clock: tells the time.
        ca: the CA certificate, DER.
        root: the root certificate, DER.
    """
    profile = profiles.certificates()[0]  # the URLs are one for all: `[urls]`
    directory = Path(configuration.repository.directory)
    return RepositorySite(
        index=CertificateIndex(directory / CERTIFICATE_INDEX_NAME),
        publications=PublicationCopy(directory),
        status=status,
        stale_seconds=configuration.ocsp.stale_seconds,
        crls=Path(configuration.crl.directory),
        ca=ca,
        root=root,
        ca_issuers=profile.ca_issuers or "",
        ocsp=profile.ocsp or "",
        clock=clock,
    )
