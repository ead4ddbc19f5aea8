"""What the CA publishes by hand, and which of it is in force (CPS 2.6.1, 8.1, 8.2).

The CA host, which publishes, and public hosts, which show, must answer this alike and may not know each other, so it
stands below both.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any, Protocol, TypeVar


class PublicationKind(StrEnum):
    """What a publication is; the value is the name in the store, on the command line and on public hosts."""

    CPS = "cps"
    """The certification practice statement (CPS 2.6.1(1))."""
    CPS_ADDENDUM = "cps-addendum"
    """A document attached to it, which prevails over it where they differ (CPS 8.1, 8.3)."""
    CP = "cp"
    """The certificate policy (CPS 2.6.1(8))."""
    PRIVACY_POLICY = "privacy-policy"
    """CPS 2.6.1(5)."""
    AUDIT_RESULT = "audit-result"
    """The newest audit's result, never the full report (CPS 2.6.1(6), 2.7.6, 2.8.1(6))."""
    FEES = "fees"
    """Fees and refunds (CPS 2.5)."""
    SUBSCRIBER_AGREEMENT = "subscriber-agreement"
    """What an applicant reads first (CPS 4.1.1)."""
    NEWS = "news"
    """CPS 2.6.1(7); planned pauses of the service too (CPS 2.2.1.4)."""
    NOTICE = "notice"
    """Announces a revision of the CPS or the CP (CPS 8.1.2)."""


DOCUMENTS = tuple(
    kind for kind in PublicationKind if kind not in (PublicationKind.NEWS, PublicationKind.NOTICE)
)
"""The kinds that carry a file and replace each other."""

_KINDS = frozenset(map(str, PublicationKind))

NEWER_TEXT: dict[PublicationKind, frozenset[PublicationKind]] = {
    **{kind: frozenset({kind}) for kind in DOCUMENTS},
    PublicationKind.CPS_ADDENDUM: frozenset({PublicationKind.CPS}),
}
"""What ends a document: the next of its kind, but an addendum stands beside other ones until the next whole text
(CPS 8.3)."""


class Significance(StrEnum):
    """How much a revision touches subscribers and relying parties (CPS 8.1.1, 8.1.2.1)."""

    LARGE = "large"
    SMALL = "small"
    RE_TYPESETTING = "re-typesetting"


NOTICE_DAYS = {Significance.LARGE: 30, Significance.SMALL: 15, Significance.RE_TYPESETTING: 0}
"""Calendar days that a revision is announced before it takes effect (CPS 8.1.1, 8.1.2.1)."""

COMMENT_DAYS = {Significance.LARGE: 15, Significance.SMALL: 7, Significance.RE_TYPESETTING: 0}
"""Calendar days from the notice on in which comments are taken (CPS 8.1.2.3)."""


class Standing(StrEnum):
    """Where a publication stands at a time."""

    UPCOMING = "upcoming"
    """A document that is published and not in force yet."""
    IN_FORCE = "in-force"
    """A document that holds; news; a notice whose revision has not taken effect yet."""
    PAST = "past"
    """A document that a newer one ended; a notice whose revision has taken effect (CPS 8.1.2.5)."""
    WITHDRAWN = "withdrawn"


class Dated(Protocol):
    """What decides where a publication stands. Times are of one type: all aware, or all seconds since the epoch."""

    @property
    def id(self) -> int:
        """Its number; a later publication has a higher one."""

    @property
    def kind(self) -> str:
        """A `PublicationKind`."""

    @property
    def about(self) -> int | None:
        """Of a notice: the document whose revision it announces. Of a document: the notice that announced it."""

    @property
    def published_at(self) -> Any:
        """When it was published."""

    @property
    def effective_at(self) -> Any:
        """When it takes effect; None: when published."""

    @property
    def withdrawn_at(self) -> Any:
        """When it was withdrawn; None while it is not."""


Publication = TypeVar("Publication", bound=Dated)


def standings(publications: Collection[Dated], now: Any) -> dict[int, Standing]:
    """Tell where each publication stands.

    Args:
        publications: all there are, in any order; kinds that are not known here are left out.
        now: the time, of the type their times have.

    Returns:
        The standing of each, by its number.
    """
    documents = [one for one in publications if one.kind in DOCUMENTS and one.withdrawn_at is None]
    begun = [one for one in documents if takes_effect_at(one) <= now]
    done = {one.about for one in begun}
    found = {}
    for one in publications:
        if one.kind not in _KINDS:
            continue
        if one.withdrawn_at is not None:
            found[one.id] = Standing.WITHDRAWN
        elif one.kind == PublicationKind.NEWS:
            found[one.id] = Standing.IN_FORCE
        elif one.kind == PublicationKind.NOTICE:
            found[one.id] = Standing.PAST if one.id in done else Standing.IN_FORCE
        elif takes_effect_at(one) > now:
            found[one.id] = Standing.UPCOMING
        else:
            found[one.id] = Standing.PAST if _ended(one, begun) else Standing.IN_FORCE
    return found


def _ended(document: Dated, begun: Collection[Dated]) -> bool:
    by = NEWER_TEXT[PublicationKind(document.kind)]
    return any(other.kind in by and _order(other) > _order(document) for other in begun)


def in_force(publications: Collection[Publication], now: Any) -> list[Publication]:
    """Return the documents that hold at a time: of each kind the newest, and every addendum since the newest CPS.

    Args:
        publications: all there are, in any order.
        now: the time, of the type their times have.

    Returns:
        In the order of the kinds; addenda in the order in which they took effect.
    """
    standing = standings(publications, now)
    found = [one for one in publications if one.kind in DOCUMENTS and standing[one.id] is Standing.IN_FORCE]
    return sorted(found, key=lambda one: (DOCUMENTS.index(PublicationKind(one.kind)), *_order(one)))


def takes_effect_at(publication: Dated) -> Any:
    """Return when it takes effect: as it says, else when it was published (CPS 8.2)."""
    return publication.published_at if publication.effective_at is None else publication.effective_at


def _order(document: Dated) -> tuple[Any, int]:
    return takes_effect_at(document), document.id
