"""Acts of publishing: what they store and record, what they refuse, and that they are done whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from engine.clock import TAIPEI, SetClock
from engine.errors import AuditFailed, InputRejected
from engine.publication.content import Content
from engine.publication.drafts import Document, RevisionNotice
from engine.publication.periods import start_of
from engine.publication.publishing import Publishing
from engine.publication.wording import wording
from engine.publication_kinds import PublicationKind, Significance, in_force
from engine.store.database import Store
from engine.store.publications import StoredPublication, content, publications
from engine.store.schema import audit_record, publication_content

CPS, ADDENDUM, CP, NOTICE = (
    PublicationKind.CPS,
    PublicationKind.CPS_ADDENDUM,
    PublicationKind.CP,
    PublicationKind.NOTICE,
)
LARGE, SMALL, RE_TYPESETTING = Significance
WORDS = wording("憑證實務作業基準", "Certification practice statement")


def pdf(name: str) -> Content:
    return Content(b"%PDF-1.7\n" + name.encode() + b"\n%%EOF\n", "application/pdf", f"{name}.pdf")


def cps(
    version: str, significance: Significance | None = None, effective: datetime | None = None
) -> Document:
    return Document(CPS, WORDS, pdf(f"cps-{version}"), version, significance, effective)


def announced(
    version: str, significance: Significance = LARGE, effective: datetime | None = None
) -> RevisionNotice:
    return RevisionNotice(CPS, version, significance, WORDS, effective_at=effective)


def stored(store: Store) -> list[StoredPublication]:
    with store.read() as connection:
        return publications(connection)


def records(store: Store) -> list[tuple[str, dict[str, Any]]]:
    with store.read() as connection:
        rows = connection.execute(
            select(audit_record.c.event, audit_record.c.body).order_by(audit_record.c.sequence)
        ).all()
    return [(event, json.loads(body)) for event, body in rows]


@pytest.mark.cps("2.6.1")
@pytest.mark.cps("8.2")
def test_the_first_cps_needs_no_notice_and_is_in_force_at_once(
    publishing: Publishing, store: Store, clock: SetClock
) -> None:
    row = publishing.publish_document(cps("2.3")).row
    assert stored(store) == [row]
    assert row.published_at == row.effective_at == clock.now()
    digest = hashlib.sha256(pdf("cps-2.3").octets).digest()
    assert row.content_sha256 == digest
    with store.read() as connection:
        assert content(connection, digest) == pdf("cps-2.3").octets
    ((event, body),) = records(store)
    assert event == "publication.added"
    assert body["publication"] == row.id
    assert (body["kind"], body["version"], body["sha256"]) == ("cps", "2.3", digest.hex())
    assert body["published_at"] == body["effective_at"] == "2026-12-15T10:30:00+08:00"


def test_the_first_may_be_older_than_its_publication_here(publishing: Publishing) -> None:
    row = publishing.publish_document(cps("2.3", effective=start_of(date(2020, 11, 4)))).row
    assert row.effective_at == datetime(2020, 11, 4, tzinfo=TAIPEI)


@pytest.mark.cps("8.1.2.1")
@pytest.mark.cps("8.1.2.2")
@pytest.mark.cps("8.1.2.3")
def test_a_large_revision_from_its_notice_to_its_effect(
    publishing: Publishing, store: Store, clock: SetClock
) -> None:
    first = publishing.publish_document(cps("2.3")).row
    notice = publishing.publish_notice(announced("2.4"))
    assert (notice.kind, notice.about, notice.version) == (NOTICE, first.id, "2.4")
    assert notice.effective_at == datetime(2027, 1, 15, tzinfo=TAIPEI)
    assert notice.comments_until == datetime(2026, 12, 30, 23, 59, 59, tzinfo=TAIPEI)
    clock.move(timedelta(days=20))
    with pytest.raises(InputRejected, match=r"earliest is 2027-01-15T00:00:00\+08:00"):
        publishing.publish_document(cps("2.4", LARGE))
    second = publishing.publish_document(cps("2.4", LARGE, start_of(date(2027, 1, 15)))).row
    assert second.about == notice.id
    change = datetime(2027, 1, 15, tzinfo=TAIPEI)
    assert in_force(stored(store), change - timedelta(seconds=1)) == [first]
    assert in_force(stored(store), change) == [second]


@pytest.mark.cps("8.1.2.1")
@pytest.mark.parametrize(("significance", "days"), [(LARGE, 30), (SMALL, 15)])
def test_a_revision_is_in_force_on_publication_once_the_period_has_passed(
    publishing: Publishing, clock: SetClock, significance: Significance, days: int
) -> None:
    publishing.publish_document(cps("2.3"))
    publishing.publish_notice(announced("2.4", significance))
    midnight = start_of(date(2026, 12, 15) + timedelta(days=days + 1))
    clock.move(midnight - timedelta(seconds=1) - clock.now())
    with pytest.raises(InputRejected) as refused:
        publishing.publish_document(cps("2.4", significance))
    assert refused.value.place == "effective"
    assert "8.1.2.1" in str(refused.value.rule)
    clock.move(timedelta(seconds=1))
    assert publishing.publish_document(cps("2.4", significance)).row.effective_at == midnight


@pytest.mark.cps("8.1.1")
def test_re_typesetting_needs_no_notice_and_gets_none(publishing: Publishing, clock: SetClock) -> None:
    publishing.publish_document(cps("2.3"))
    with pytest.raises(InputRejected, match="not announced"):
        publishing.publish_notice(announced("2.3.1", RE_TYPESETTING))
    row = publishing.publish_document(cps("2.3.1", RE_TYPESETTING)).row
    assert (row.effective_at, row.about) == (clock.now(), None)


@pytest.mark.cps("8.3")
def test_an_addendum_is_announced_like_a_revision(publishing: Publishing, clock: SetClock) -> None:
    addendum = Document(ADDENDUM, WORDS, pdf("addendum"), "2.3-A", SMALL)
    with pytest.raises(InputRejected, match="no CPS to add to"):
        publishing.publish_document(addendum)
    publishing.publish_document(cps("2.3"))
    with pytest.raises(InputRejected, match="no notice has announced"):
        publishing.publish_document(addendum)
    notice = publishing.publish_notice(announced("2.3-A", SMALL))
    clock.move(timedelta(days=16))
    assert publishing.publish_document(addendum).row.about == notice.id


@pytest.mark.cps("2.6.2")
def test_a_certificate_policy_follows_its_own_rules_or_those_of_a_notice(
    publishing: Publishing, clock: SetClock
) -> None:
    publishing.publish_document(Document(CP, WORDS, pdf("cp-1.9"), "1.9"))
    publishing.publish_document(Document(CP, WORDS, pdf("cp-2.0"), "2.0"))
    publishing.publish_notice(RevisionNotice(CP, "2.1", SMALL, WORDS))
    clock.move(timedelta(days=15))
    with pytest.raises(InputRejected, match="notice period of 15 days"):
        publishing.publish_document(Document(CP, WORDS, pdf("cp-2.1"), "2.1", SMALL))


def test_a_notice_about_one_kind_announces_nothing_of_another(publishing: Publishing) -> None:
    publishing.publish_document(cps("2.3"))
    publishing.publish_document(Document(CP, WORDS, pdf("cp-2.3"), "2.3"))
    publishing.publish_notice(RevisionNotice(CP, "2.4", SMALL, WORDS))
    with pytest.raises(InputRejected, match="no notice has announced"):
        publishing.publish_document(cps("2.4", SMALL, start_of(date(2027, 3, 1))))


def test_one_withdrawn_before_its_effect_was_not_the_first(publishing: Publishing, clock: SetClock) -> None:
    wrong = publishing.publish_document(cps("2.2", effective=start_of(date(2026, 12, 20)))).row
    publishing.withdraw(wrong.id, "the wrong file")
    right = publishing.publish_document(cps("2.3")).row
    clock.move(timedelta(days=1))
    publishing.withdraw(right.id, "it was in force for a day")
    with pytest.raises(InputRejected, match="is not said"):
        publishing.publish_document(cps("2.4"))


def test_a_notice_may_name_a_later_time_and_the_document_keeps_to_it(
    publishing: Publishing, clock: SetClock
) -> None:
    publishing.publish_document(cps("2.3"))
    publishing.publish_notice(announced("2.4", SMALL, start_of(date(2027, 2, 1))))
    clock.move(timedelta(days=20))
    with pytest.raises(InputRejected, match=r"later time; the earliest is 2027-02-01T00:00:00\+08:00"):
        publishing.publish_document(cps("2.4", SMALL, start_of(date(2027, 1, 31))))
    assert publishing.publish_document(cps("2.4", SMALL, start_of(date(2027, 2, 1)))).row.id


@pytest.mark.cps("8.2")
def test_a_late_publication_is_published_and_says_by_how_much(publishing: Publishing, store: Store) -> None:
    in_time = Document(CPS, WORDS, pdf("cps"), "2.3", approved_on=date(2026, 12, 8))
    assert publishing.publish_document(in_time).days_late == 0
    late = Document(CP, WORDS, pdf("cp"), "2.0", approved_on=date(2026, 12, 1))
    assert publishing.publish_document(late).days_late == 7
    _, body = records(store)[-1]
    assert (body["approved_on"], body["days_late"]) == ("2026-12-01", 7)


def test_a_file_is_kept_once(publishing: Publishing, store: Store) -> None:
    same = pdf("same")
    fees = PublicationKind.FEES
    publishing.publish_document(Document(fees, WORDS, same))
    publishing.publish_document(Document(fees, WORDS, same))
    with store.read() as connection:
        assert len(connection.execute(select(publication_content.c.sha256)).all()) == 1


def test_times_are_whole_seconds_as_public_hosts_have_them(store: Store) -> None:
    clock = SetClock(datetime(2026, 12, 15, 2, 30, 7, 999_999, tzinfo=UTC))
    row = Publishing(store, clock, "account officer").publish_document(cps("2.3")).row
    assert row.published_at == row.effective_at == datetime(2026, 12, 15, 2, 30, 7, tzinfo=UTC)
    assert stored(store) == [row]


@pytest.mark.cps("2.6.1")
def test_news(publishing: Publishing, store: Store) -> None:
    row = publishing.publish_news(wording("公告", "News", "內容", "Text"))
    assert stored(store) == [row]
    assert records(store)[0][1]["kind"] == "news"
    with pytest.raises(InputRejected, match="news have a text"):
        publishing.publish_news(wording("公告", "News"))


def test_a_withdrawal_keeps_the_row_and_brings_the_one_before_back(
    publishing: Publishing, store: Store, clock: SetClock
) -> None:
    first = publishing.publish_document(cps("2.3")).row
    second = publishing.publish_document(cps("2.3.1", RE_TYPESETTING)).row
    assert in_force(stored(store), clock.now()) == [second]
    clock.move(timedelta(minutes=5))
    gone = publishing.withdraw(second.id, "the wrong file")
    assert gone.withdrawn_at == clock.now()
    assert stored(store) == [first, gone]
    assert in_force(stored(store), clock.now()) == [first]
    event, body = records(store)[-1]
    assert (event, body["publication"], body["reason"]) == (
        "publication.withdrawn",
        second.id,
        "the wrong file",
    )
    with pytest.raises(InputRejected, match="withdrawn already"):
        publishing.withdraw(second.id, "again")
    publishing.publish_document(cps("2.3.1", RE_TYPESETTING))


@pytest.mark.cps("8.1.2.5")
def test_a_notice_is_not_withdrawn_under_a_document_that_waits_for_it(
    publishing: Publishing, clock: SetClock
) -> None:
    publishing.publish_document(cps("2.3"))
    notice = publishing.publish_notice(announced("2.4", SMALL))
    document = publishing.publish_document(cps("2.4", SMALL, start_of(date(2026, 12, 31)))).row
    with pytest.raises(InputRejected) as refused:
        publishing.withdraw(notice.id, "no longer planned")
    assert "8.1.2.5" in str(refused.value.rule)
    publishing.withdraw(document.id, "no longer planned")
    publishing.withdraw(notice.id, "no longer planned")
    with pytest.raises(InputRejected, match="no notice has announced"):
        publishing.publish_document(cps("2.4", SMALL, start_of(date(2027, 3, 1))))


def test_a_withdrawn_notice_is_announced_anew_with_its_whole_period(
    publishing: Publishing, clock: SetClock
) -> None:
    publishing.publish_document(cps("2.3"))
    early = publishing.publish_notice(announced("2.4", SMALL))
    clock.move(timedelta(days=14))
    with pytest.raises(InputRejected, match="announces this version already"):
        publishing.publish_notice(announced("2.4", SMALL))
    publishing.withdraw(early.id, "the draft was changed")
    again = publishing.publish_notice(announced("2.4", SMALL))
    assert again.effective_at == start_of(date(2027, 1, 14))


Act = Callable[[Publishing], object]

REFUSED: list[tuple[str, Act, str]] = [
    ("version", lambda p: p.publish_document(Document(CPS, WORDS, pdf("x"))), "version is not said"),
    ("version", lambda p: p.publish_document(cps("2.3")), "published already, as number 1"),
    ("version", lambda p: p.publish_document(cps("2/4", SMALL)), "not a version"),
    ("version", lambda p: p.publish_document(cps("2.4", SMALL)), "no notice has announced"),
    ("version", lambda p: p.publish_notice(announced("2.3")), "published already"),
    ("significance", lambda p: p.publish_document(cps("2.4")), "is not said"),
    ("significance", lambda p: p.publish_document(cps("3.0", SMALL)), "announced a large revision"),
    ("significance", lambda p: p.publish_document(Document(CP, WORDS, pdf("x"), "1", LARGE)), "the first cp"),
    (
        "significance",
        lambda p: p.publish_document(Document(PublicationKind.FEES, WORDS, pdf("x"), None, LARGE)),
        "a fees has no significance",
    ),
    ("kind", lambda p: p.publish_document(Document(NOTICE, WORDS, pdf("x"))), "not a kind of document"),
    ("about", lambda p: p.publish_notice(RevisionNotice(NOTICE, "2.4", LARGE, WORDS)), "not announced"),
    ("about", lambda p: p.publish_notice(RevisionNotice(CP, "2.4", LARGE, WORDS)), "no cp in force"),
    (
        "effective",
        lambda p: p.publish_notice(announced("2.4", LARGE, start_of(date(2027, 1, 14)))),
        r"notice period of 30 days ends later; the earliest is 2027-01-15T00:00:00\+08:00",
    ),
    (
        "effective",
        lambda p: p.publish_document(cps("2.4", RE_TYPESETTING, start_of(date(2026, 12, 14)))),
        "before it is published",
    ),
    (
        "approved",
        lambda p: p.publish_document(
            Document(CP, WORDS, pdf("x"), "1", approved_on=date(2026, 12, 16)),
        ),
        "lies in the future",
    ),
    ("publication", lambda p: p.withdraw(99, "why"), "no such publication"),
    ("reason", lambda p: p.withdraw(1, " "), "nothing is written"),
    ("reason", lambda p: p.withdraw(1, "a\x00b"), "control character"),
]


@pytest.mark.cps("8.1.2")
@pytest.mark.parametrize(("place", "act", "message"), REFUSED)
def test_what_is_refused_leaves_nothing(
    publishing: Publishing, store: Store, place: str, act: Act, message: str
) -> None:
    publishing.publish_document(cps("2.3"))
    publishing.publish_notice(announced("3.0", LARGE))
    before = stored(store), records(store)
    with pytest.raises(InputRejected, match=message) as refused:
        act(publishing)
    assert refused.value.place == place
    assert refused.value.rule or place == "publication"
    assert (stored(store), records(store)) == before


@pytest.mark.cps("4.5.6")
@pytest.mark.parametrize(
    "act",
    [
        lambda p: p.publish_document(cps("2.3.1", RE_TYPESETTING)),
        lambda p: p.publish_notice(announced("2.4")),
        lambda p: p.publish_news(wording("公告", "News", "內容", "Text")),
        lambda p: p.withdraw(1, "the wrong file"),
    ],
)
def test_without_its_audit_record_nothing_is_done(publishing: Publishing, store: Store, act: Act) -> None:
    publishing.publish_document(cps("2.3"))
    before = stored(store), records(store)
    with store.write() as connection:
        connection.execute(
            text("CREATE TRIGGER full BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'full'); END")
        )
    with pytest.raises(AuditFailed, match="did not happen"):
        act(publishing)
    assert (stored(store), records(store)) == before
    with store.read() as connection:
        assert len(connection.execute(select(publication_content.c.sha256)).all()) == 1
