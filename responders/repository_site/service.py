"""How this host is: how current what it shows is (CPS 1.3.4, 2.6.4)."""

from __future__ import annotations

from engine.errors import SealmintError
from engine.publication_kinds import PublicationKind
from responders.repository_site.answers import Service, StatusFreshness, moment
from responders.repository_site.crls import crl_list
from responders.repository_site.publications import publication_list
from responders.repository_site.site import RepositorySite


async def service(site: RepositorySite) -> Service:
    """Return how this host is. What cannot be read is null; the answer itself always comes.

    Raises:
        Overloaded: too many are reading.
    """
    freshness = _freshness(site)
    certificates, crls, past, publications = await site.read(_counts, site)
    return Service(
        now=moment(site.now),
        status=freshness,
        certificates=certificates,
        crls=crls,
        crls_past=past,
        publications=publications,
    )


def _freshness(site: RepositorySite) -> StatusFreshness | None:
    try:
        site.status.reopen_if_replaced()
        freshness = site.status.freshness()
    except SealmintError:
        return None
    return StatusFreshness(
        sequence=freshness.sequence,
        written_at=moment(freshness.written_at),
        is_current=freshness.is_current(site.now, site.stale_seconds),
    )


def _counts(site: RepositorySite) -> tuple[int | None, int, int, int]:
    try:
        certificates = site.index.count()
    except SealmintError:
        certificates = None
    try:
        publications = len(publication_list(site, tuple(PublicationKind)).publications)
    except SealmintError:
        publications = 0
    crls = crl_list(site).crls
    return certificates, len(crls), sum(not crl.is_current for crl in crls), publications
