"""What is about to be published, and what was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from engine.publication.content import Content
from engine.publication.wording import Wording
from engine.publication_kinds import PublicationKind, Significance
from engine.store.publications import StoredPublication


@dataclass(frozen=True, slots=True)
class Document:
    """A document about to be published.

    Attributes:
        kind: one of `DOCUMENTS`.
        wording: title, and a summary if wanted.
        content: its file. Of an audit the result, never the full report (CPS 2.8.1(6)).
        version: needed for the CPS, its addenda and the CP.
        significance: of a revision of the CPS (CPS 8.1.2.1); of the CP where it is announced like one.
        effective_at: when it takes effect; None: on publication (CPS 8.2).
        approved_on: the day of its approval (CPS 2.6.2(1), 8.3), where the 7 days of CPS 8.2 are to be watched.
    """

    kind: PublicationKind
    wording: Wording
    content: Content
    version: str | None = None
    significance: Significance | None = None
    effective_at: datetime | None = None
    approved_on: date | None = None


@dataclass(frozen=True, slots=True)
class RevisionNotice:
    """A notice about to be published: what will be revised, and when.

    Attributes:
        about: the kind of the document that will be revised.
        version: the one it will have then.
        significance: of the revision; decides the periods (CPS 8.1.2.1, 8.1.2.3).
        wording: title and text; where to send comments stands in the text (CPS 8.1.2.4).
        content: the draft, if it is added.
        effective_at: when the revision takes effect; None: as soon as the period allows.
    """

    about: PublicationKind
    version: str
    significance: Significance
    wording: Wording
    content: Content | None = None
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A document that was published.

    Attributes:
        row: as stored.
        days_late: days over the 7 of CPS 8.2; None when the day of approval was not said.
    """

    row: StoredPublication
    days_late: int | None
