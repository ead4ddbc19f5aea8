"""The published CRLs: their numbers, ages and what they cover."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from engine.status.crl_files import PublishedCrl, all_published
from engine.x509.der_reader import NotDer
from engine.x509.revocation_list_reader import read_list
from responders.repository_site.answers import Crl, CrlKind, CrlList, moment
from responders.repository_site.site import RepositorySite


class _Described(NamedTuple):
    kind: CrlKind
    number: int


def crl_list(site: RepositorySite) -> CrlList:
    """Return all published CRLs: complete ones first. Blocks: it looks at every file."""
    now = site.now
    described = [(crl, _described(crl)) for crl in all_published(site.crls)]
    crls = [
        Crl(
            path=crl.uri_path,
            kind=found.kind,
            number=found.number,
            this_update=moment(crl.this_update),
            next_update=moment(crl.next_update),
            size=crl.size,
            is_current=crl.next_update > now,
        )
        for crl, found in described
        if found is not None
    ]
    order = list(CrlKind)
    return CrlList(crls=sorted(crls, key=lambda crl: (order.index(crl.kind), crl.path)))


@lru_cache(maxsize=4096)  # a guess: the CRLs of forty million certificates, and some that they replaced
def _described(crl: PublishedCrl) -> _Described | None:
    """Read the number and what is covered; None where another list has just taken its place, or it has no number."""
    file = crl.open()
    if file is None:
        return None
    try:
        with file:
            read = read_list(file, crl.size)
    except (NotDer, OSError):
        return None
    kind = CrlKind.COMPLETE if read.distribution_point is None else CrlKind.PARTITION
    return _Described(kind if read.base_number is None else CrlKind.DELTA, read.number)
