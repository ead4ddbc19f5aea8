"""Whether a document may be published, and taking effect when: CPS 8.1.1 to 8.1.2.5, 8.2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.errors import InputRejected
from engine.publication.moments import in_taipei
from engine.publication.periods import Refusal, day_of, refused_effect
from engine.publication_kinds import (
    DOCUMENTS,
    NOTICE_DAYS,
    PublicationKind,
    Significance,
    Standing,
    in_force,
    standings,
    takes_effect_at,
)
from engine.store.publications import StoredPublication

ANNOUNCED = (PublicationKind.CPS, PublicationKind.CP)
"""The kinds whose revisions are announced by a notice. The CP has a procedure of its own, outside this CPS (CPS
2.6.2(5)); a notice for it is taken where one is wanted."""

_SIGNIFICANCE_NEEDED = (PublicationKind.CPS, PublicationKind.CPS_ADDENDUM)
_VERSION_NEEDED = (PublicationKind.CPS, PublicationKind.CPS_ADDENDUM, PublicationKind.CP)
_RULE_SIGNIFICANCE = (
    "CPS 8.1.1, 8.1.2.1: a revision is large (notice of 30 days), small (15 days) or re-typesetting (none)"
)


def announced_by(kind: PublicationKind) -> PublicationKind:
    """Return the kind that a notice names to announce a document of this kind."""
    return PublicationKind.CPS if kind is PublicationKind.CPS_ADDENDUM else kind


def ever_in_force(existing: Sequence[StoredPublication], kind: PublicationKind) -> bool:
    """Whether a document of this kind was in force, or will be; one withdrawn before it took effect does not count."""
    return any(
        one.kind == kind and (one.withdrawn_at is None or one.withdrawn_at > takes_effect_at(one))
        for one in existing
    )


def check_version(existing: Sequence[StoredPublication], kind: PublicationKind, version: str | None) -> None:
    """Refuse a version that is missing, or stands already.

    Raises:
        InputRejected: it does.
    """
    if version is None:
        if kind in _VERSION_NEEDED:
            raise InputRejected("the version is not said", place="version", rule=f"a {kind} has a version")
        return
    for one in existing:
        if (one.kind, one.version, one.withdrawn_at) == (kind, version, None):
            raise InputRejected(
                f"this version is published already, as number {one.id}",
                place="version",
                value=version,
                rule="a version is published once; withdraw the other first",
            )


def check_significance(
    existing: Sequence[StoredPublication], kind: PublicationKind, significance: Significance | None
) -> None:
    """Refuse a significance that is missing, or said where there is none.

    Raises:
        InputRejected: it is.
    """
    if kind is PublicationKind.CPS_ADDENDUM and not ever_in_force(existing, PublicationKind.CPS):
        raise InputRejected("there is no CPS to add to", place="kind", value=kind.value, rule="CPS 8.1")
    revises = ever_in_force(existing, announced_by(kind))
    if significance is None:
        if revises and kind in _SIGNIFICANCE_NEEDED:
            raise InputRejected(
                "how much the revision touches is not said", place="significance", rule=_RULE_SIGNIFICANCE
            )
    elif announced_by(kind) not in ANNOUNCED:
        raise InputRejected(
            f"a {kind} has no significance",
            place="significance",
            value=significance.value,
            rule="CPS 8.1.2: only revisions of the CPS have periods",
        )
    elif not revises:
        raise InputRejected(
            f"this is the first {kind}, which revises nothing and needs no notice",
            place="significance",
            value=significance.value,
            rule=_RULE_SIGNIFICANCE,
        )


def notice_for(
    existing: Sequence[StoredPublication],
    kind: PublicationKind,
    version: str | None,
    significance: Significance | None,
) -> StoredPublication | None:
    """Return the notice that announced a document; None where none is needed.

    Raises:
        InputRejected: one is needed, and there is none or it announced another significance.
    """
    if significance is None or not NOTICE_DAYS[significance]:
        return None
    notice = standing_notice(existing, announced_by(kind), version)
    if notice is None:
        raise InputRejected(
            f"no notice has announced this version; it could take effect {NOTICE_DAYS[significance] + 1} days "
            "after one",
            place="version",
            value=version,
            rule=f"CPS 8.1.2.1, 8.1.2.2: a {significance} revision is announced {NOTICE_DAYS[significance]} "
            "calendar days before it takes effect",
        )
    if notice.significance != significance:
        raise InputRejected(
            f"the notice, number {notice.id}, announced a {notice.significance} revision",
            place="significance",
            value=significance.value,
            rule="CPS 8.1.2.1: the period is that of what was announced",
        )
    return notice


def standing_notice(
    existing: Sequence[StoredPublication], about: PublicationKind, version: str | None
) -> StoredPublication | None:
    """Return the notice that announces a version and has not been withdrawn."""
    kinds = {one.id: one.kind for one in existing if one.kind in DOCUMENTS}
    for one in existing:
        if one.kind == PublicationKind.NOTICE and (one.version, one.withdrawn_at) == (version, None):
            revised = one.about
            if revised is not None and kinds[revised] == about:
                return one
    return None


def revised_by(
    existing: Sequence[StoredPublication], about: PublicationKind, now: datetime
) -> StoredPublication:
    """Return the document in force whose revision a notice announces.

    Raises:
        InputRejected: revisions of this kind are not announced, or there is nothing to revise.
    """
    if about not in ANNOUNCED:
        raise InputRejected(
            f"revisions of a {about} are not announced",
            place="about",
            value=about.value,
            rule="CPS 8.1.2: cps, cp",
        )
    for one in in_force(existing, now):
        if one.kind == about:
            return one
    raise InputRejected(
        f"there is no {about} in force to revise",
        place="about",
        value=about.value,
        rule="the first needs no notice",
    )


def effect_of_document(
    existing: Sequence[StoredPublication],
    kind: PublicationKind,
    notice: StoredPublication | None,
    asked: datetime | None,
    now: datetime,
) -> datetime:
    """Return when a document takes effect that is published now.

    Args:
        existing: every publication so far.
        kind: of the document.
        notice: what announced it, where that is needed.
        asked: when it is to take effect; None: on publication (CPS 8.2). Today, as a day, is now.
        now: the time of publication.

    Raises:
        InputRejected: it may not take effect then; says from when on it may.
    """
    effective_at = now if asked is None or (asked <= now and day_of(asked) == day_of(now)) else asked
    if effective_at < now and ever_in_force(existing, kind):
        raise InputRejected(
            "it would take effect before it is published",
            place="effective",
            value=in_taipei(effective_at),
            rule="CPS 8.2: in force after publication; only the first of a kind may be older",
        )
    if notice is not None and notice.significance is not None:
        significance = Significance(notice.significance)
        check_effect(
            refused_effect(effective_at, notice.published_at, notice.effective_at, significance), effective_at
        )
    return effective_at


def check_effect(refusal: Refusal | None, effective_at: datetime) -> None:
    """Raise a refusal as an error that says from when on it may be.

    Raises:
        InputRejected: there is a refusal.
    """
    if refusal is not None:
        earliest = "" if refusal.earliest is None else f"; the earliest is {in_taipei(refusal.earliest)}"
        raise InputRejected(
            f"{refusal.reason}{earliest}", place="effective", value=in_taipei(effective_at), rule=refusal.rule
        )


def check_withdrawal(
    existing: Sequence[StoredPublication], publication_id: int, now: datetime
) -> StoredPublication:
    """Return a publication that may be withdrawn.

    Raises:
        InputRejected: there is none of this number, it is withdrawn already, or a document that is yet to take
            effect rests on it.
    """
    found = next((one for one in existing if one.id == publication_id), None)
    if found is None:
        raise InputRejected("there is no such publication", place="publication", value=publication_id)
    if found.withdrawn_at is not None:
        raise InputRejected(
            "it is withdrawn already",
            place="publication",
            value=publication_id,
            rule=f"withdrawn at {in_taipei(found.withdrawn_at)}",
        )
    standing = standings(existing, now)
    for one in existing:
        if one.kind in DOCUMENTS and one.about == publication_id and standing[one.id] is Standing.UPCOMING:
            raise InputRejected(
                f"what it announces, number {one.id}, has not taken effect yet; withdraw that first",
                place="publication",
                value=publication_id,
                rule="CPS 8.1.2.5: a notice stands until the revision takes effect",
            )
    return found
