"""Documents, news and notices (CPS 2.6.1, 8.1), with where each of them stands now."""

from __future__ import annotations

from collections.abc import Collection

from engine.publication_kinds import DOCUMENTS, PublicationKind, Standing, standings, takes_effect_at
from engine.repository.publication_copy import Publication
from responders.repository_site.answers import API, File, PublicationAnswer, PublicationList, moment
from responders.repository_site.site import RepositorySite

_ORDER = (Standing.IN_FORCE, Standing.UPCOMING, Standing.PAST)


def publication_list(site: RepositorySite, kinds: Collection[PublicationKind]) -> PublicationList:
    """Return the publications of some kinds that were not withdrawn.

    Documents by kind, those in force first; the newest first. Blocks: it may read the listing.

    Raises:
        StoreError: the listing cannot be read.
    """
    listed = [one for one in _answers(site) if one.kind in kinds and one.standing is not Standing.WITHDRAWN]
    listed.sort(key=lambda one: (one.published_at, one.id), reverse=True)
    if set(kinds) <= set(DOCUMENTS):
        kind_order = [str(kind) for kind in DOCUMENTS]
        listed.sort(key=lambda one: (kind_order.index(one.kind), _ORDER.index(one.standing)))
    elif set(kinds) == {PublicationKind.NOTICE}:
        listed.sort(key=lambda one: _ORDER.index(one.standing))
    return PublicationList(publications=listed)


def publication(site: RepositorySite, number: int) -> PublicationAnswer | None:
    """Return one, withdrawn or not; of a withdrawn one only the title is told. Blocks: it may read the listing.

    Raises:
        StoreError: the listing cannot be read.
    """
    return next((one for one in _answers(site) if one.id == number), None)


def related(site: RepositorySite, shown: PublicationAnswer) -> list[PublicationAnswer]:
    """Return the notices of a document and the documents of a notice. Blocks: it may read the listing."""
    return [
        one
        for one in _answers(site)
        if one.standing is not Standing.WITHDRAWN and (one.id == shown.about or one.about == shown.id)
    ]


def _answers(site: RepositorySite) -> list[PublicationAnswer]:
    listing = site.publications.read()
    now = site.now
    standing = standings(listing, now)
    return [_answer(one, standing[one.id], now) for one in listing if one.id in standing]


def _answer(one: Publication, standing: Standing, now: int) -> PublicationAnswer:
    is_shown = standing is not Standing.WITHDRAWN
    effective = takes_effect_at(one) if one.kind in DOCUMENTS else one.effective_at
    return PublicationAnswer(
        id=one.id,
        kind=one.kind,
        standing=standing,
        title_zh=one.title_zh,
        title_en=one.title_en,
        text_zh=one.text_zh if is_shown else "",
        text_en=one.text_en if is_shown else "",
        version=one.version,
        significance=one.significance,
        about=one.about,
        published_at=moment(one.published_at),
        effective_at=None if effective is None else moment(effective),
        comments_until=None if one.comments_until is None else moment(one.comments_until),
        comments_open=is_shown and one.comments_until is not None and now <= one.comments_until,
        withdrawn_at=None if one.withdrawn_at is None else moment(one.withdrawn_at),
        file=_file(one) if is_shown else None,
    )


def _file(one: Publication) -> File | None:
    if one.content_sha256 is None:
        return None
    return File(
        name=one.file_name or f"publication-{one.id}",
        media_type=one.media_type or "application/octet-stream",
        size=one.content_size or 0,
        sha256=one.content_sha256,
        path=f"{API}/publications/{one.id}/content",
    )
