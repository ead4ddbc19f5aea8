"""Publishing by hand: documents, news, notices, and withdrawing them (CPS 2.6.1, 8.1.2, 8.2).

Each act is one transaction with its audit record: what is published is recorded, or is not published (CPS 4.5.6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, datetime

import orjson
from sqlalchemy import Connection

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.errors import InputRejected
from engine.publication.content import Content
from engine.publication.drafts import Document, Published, RevisionNotice
from engine.publication.moments import in_taipei
from engine.publication.periods import (
    PUBLISHED_WITHIN_DAYS,
    comments_until,
    day_of,
    days_late,
    earliest_effect,
    refused_effect,
)
from engine.publication.revisions import (
    check_effect,
    check_significance,
    check_version,
    check_withdrawal,
    effect_of_document,
    notice_for,
    revised_by,
    standing_notice,
)
from engine.publication.wording import Wording, line, version_from
from engine.publication_kinds import DOCUMENTS, NOTICE_DAYS, PublicationKind
from engine.store.database import Store
from engine.store.publications import (
    NewPublication,
    StoredPublication,
    append_publication,
    publications,
    withdraw,
)

REASON_LIMIT = 1000
"""Characters of the reason for a withdrawal. A guess."""


class Publishing:
    """Publishes and withdraws.

    Args:
        store: the record.
        clock: tells the time of the acts.
        actor: who does them, for the record.

    Every method raises StoreError, AuditFailed or ClockWrong when nothing happened.
    """

    def __init__(self, store: Store, clock: Clock, actor: str) -> None:
        self._store = store
        self._clock = clock
        self._actor = actor

    def publish_document(self, document: Document) -> Published:
        """Publish a document, in force at once or later.

        One that comes later than CPS 8.2 allows is published all the same, for not at all would be worse; the answer
        and the record say by how much.

        Raises:
            InputRejected: a rule forbids it, or forbids the time; names the clause and the earliest time.
        """
        kind = document.kind
        if kind not in DOCUMENTS:
            raise InputRejected(
                "not a kind of document", place="kind", value=kind.value, rule=", ".join(DOCUMENTS)
            )
        version = None if document.version is None else version_from(document.version)
        with self._store.write() as connection:
            now = self._now()
            existing = publications(connection)
            check_version(existing, kind, version)
            check_significance(existing, kind, document.significance)
            notice = notice_for(existing, kind, version, document.significance)
            effective_at = effect_of_document(existing, kind, notice, document.effective_at, now)
            late = _days_late(document.approved_on, now)
            new = NewPublication(
                kind.value,
                *document.wording,
                published_at=now,
                version=version,
                significance=document.significance and document.significance.value,
                about=None if notice is None else notice.id,
                effective_at=effective_at,
            )
            more = {
                "approved_on": document.approved_on and document.approved_on.isoformat(),
                "days_late": late,
            }
            return Published(self._append(connection, new, document.content, more), late)

    def publish_notice(self, notice: RevisionNotice) -> StoredPublication:
        """Announce a revision; its comment period begins.

        Raises:
            InputRejected: a rule forbids it, or forbids the time; names the clause and the earliest time.
        """
        version = version_from(notice.version)
        if not NOTICE_DAYS[notice.significance]:
            raise InputRejected(
                "re-typesetting is not announced", place="significance", rule="CPS 8.1.1: no notice is given"
            )
        with self._store.write() as connection:
            now = self._now()
            existing = publications(connection)
            revised = revised_by(existing, notice.about, now)
            check_version(existing, notice.about, version)
            other = standing_notice(existing, notice.about, version)
            if other is not None:
                raise InputRejected(
                    f"a notice, number {other.id}, announces this version already",
                    place="version",
                    value=version,
                    rule="a revision is announced once; withdraw the other first, and the period begins anew",
                )
            effective_at = notice.effective_at or earliest_effect(now, notice.significance)
            check_effect(refused_effect(effective_at, now, None, notice.significance), effective_at)
            new = NewPublication(
                PublicationKind.NOTICE.value,
                *notice.wording,
                published_at=now,
                version=version,
                significance=notice.significance.value,
                about=revised.id,
                effective_at=effective_at,
                comments_until=comments_until(now, notice.significance),
            )
            return self._append(connection, new, notice.content, {})

    def publish_news(self, wording: Wording) -> StoredPublication:
        """Publish a piece of news.

        Raises:
            InputRejected: it has no text.
        """
        if not wording.text_zh:
            raise InputRejected("news have a text", place="text-zh", rule="title and text, in both languages")
        with self._store.write() as connection:
            new = NewPublication(PublicationKind.NEWS.value, *wording, published_at=self._now())
            return self._append(connection, new, None, {})

    def withdraw(self, publication_id: int, reason: str) -> StoredPublication:
        """Withdraw a publication: from now on it is not shown as standing; its row stays.

        Raises:
            InputRejected: there is none of this number, it is withdrawn already, or it is the notice of a document
                that has not taken effect yet (CPS 8.1.2.5).
        """
        why = line(reason, "reason", REASON_LIMIT)
        with self._store.write() as connection:
            now = self._now()
            found = check_withdrawal(publications(connection), publication_id, now)
            withdraw(connection, publication_id, now)
            body = {
                "publication": found.id,
                "kind": found.kind,
                "version": found.version,
                "withdrawn_at": in_taipei(now),
                "reason": why,
            }
            append_record(
                connection,
                self._clock,
                Event.PUBLICATION_WITHDRAWN,
                actor=self._actor,
                body=_without_none(body),
            )
            return found._replace(withdrawn_at=now)

    def _now(self) -> datetime:
        # Whole seconds: the feed carries no more, and both hosts must draw the same line.
        return self._clock.now().replace(microsecond=0)

    def _append(
        self, connection: Connection, new: NewPublication, content: Content | None, more: Mapping[str, object]
    ) -> StoredPublication:
        octets = None
        if content is not None:
            octets = content.octets
            new = new._replace(media_type=content.media_type, file_name=content.file_name)
        stored = append_publication(connection, new, octets)
        body = _without_none({**_body(stored), **more})
        append_record(connection, self._clock, Event.PUBLICATION_ADDED, actor=self._actor, body=body)
        return stored


def _body(stored: StoredPublication) -> dict[str, object]:
    words = [stored.title_zh, stored.title_en, stored.text_zh, stored.text_en]
    return {
        "publication": stored.id,
        "kind": stored.kind,
        "version": stored.version,
        "significance": stored.significance,
        "about": stored.about,
        "published_at": in_taipei(stored.published_at),
        "effective_at": None if stored.effective_at is None else in_taipei(stored.effective_at),
        "comments_until": None if stored.comments_until is None else in_taipei(stored.comments_until),
        "title": stored.title_zh,
        "wording_sha256": hashlib.sha256(orjson.dumps(words)).hexdigest(),
        "sha256": None if stored.content_sha256 is None else stored.content_sha256.hex(),
        "size": stored.content_size,
        "media_type": stored.media_type,
        "file_name": stored.file_name,
    }


def _days_late(approved_on: date | None, now: datetime) -> int | None:
    if approved_on is None:
        return None
    if approved_on > day_of(now):
        raise InputRejected(
            "the approval lies in the future",
            place="approved",
            value=approved_on.isoformat(),
            rule=f"CPS 2.6.2(1), 8.2: published once approved, within {PUBLISHED_WITHIN_DAYS} days",
        )
    return days_late(approved_on, now)


def _without_none(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}
