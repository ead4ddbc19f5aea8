"""`sealmint publish` on a home, as officers and programs use it; the token is not touched."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.prepared_home import PreparedHome, run_here

PDF = b"%PDF-1.7\n1 0 obj\nendobj\n%%EOF\n"
TITLES = ("--title-zh", "憑證實務作業基準", "--title-en", "Certification practice statement")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "MOEACA-CPS.pdf"
    path.write_bytes(PDF)
    return path


def first_cps(home: PreparedHome, file: Path) -> None:
    home.look(
        "publish",
        "document",
        "--kind",
        "cps",
        "--version",
        "2.3",
        *TITLES,
        "--file",
        file,
        "--effective",
        "2020-11-04",
    )


@pytest.mark.cps("8.1.2")
def test_a_revision_from_notice_to_refusal_to_document(home: PreparedHome, file: Path) -> None:
    first_cps(home, file)
    revision = ("--significance", "large", "--version", "2.4", *TITLES)
    draft = ("--file", file, "--comments-to", "cps@ca.example.tw")
    notice = home.look("publish", "notice", "--about", "cps", *revision, *draft).json
    announced = datetime.fromisoformat(notice["published"]).date()
    earliest = f"{announced + timedelta(days=31)}T00:00:00+08:00"
    assert notice["effective"] == earliest
    assert notice["comments_until"] == f"{announced + timedelta(days=15)}T23:59:59+08:00"
    assert (notice["kind"], notice["about"]) == ("notice", 1)

    document = ("publish", "document", "--kind", "cps", *revision, "--file", file)
    day_before = announced + timedelta(days=30)
    error = home.look(*document, "--effective", day_before, code=3).error
    assert (error["place"], error["value"]) == ("effective", f"{day_before}T00:00:00+08:00")
    assert earliest in error["message"]
    assert "8.1.2.1" in error["rule"]
    assert home.look(*document, code=3).error["place"] == "effective"
    published = home.look(*document, "--effective", announced + timedelta(days=31)).json
    assert (published["effective"], published["about"]) == (earliest, notice["publication"])

    listed = home.look("publish", "list").json["publications"]
    assert [(one["kind"], one["version"], one["standing"]) for one in listed] == [
        ("cps", "2.3", "in-force"),
        ("notice", "2.4", "in-force"),
        ("cps", "2.4", "upcoming"),
    ]
    ((text_zh, text_en),) = home.query("SELECT text_zh, text_en FROM publication WHERE kind = 'notice'")
    assert (text_zh, text_en) == ("意見回覆：cps@ca.example.tw", "Comments to: cps@ca.example.tw")
    events = home.query("SELECT event, actor FROM audit_record ORDER BY sequence DESC LIMIT 3")
    assert [event for event, _ in events] == ["publication.added"] * 3
    assert all(actor.startswith("account ") for _, actor in events)
    home.look("audit", "verify")


@pytest.mark.cps("2.6.1")
def test_each_kind_of_document_and_news_can_be_published_and_withdrawn(
    home: PreparedHome, file: Path
) -> None:
    first_cps(home, file)
    for kind in ("cp", "privacy-policy", "audit-result", "fees", "subscriber-agreement"):
        shown = home.look(
            "publish", "document", "--kind", kind, "--version", "1", *TITLES, "--file", file
        ).json
        assert shown["sha256"] == hashlib.sha256(PDF).hexdigest()
        assert (shown["media_type"], shown["size"], shown["days_late"]) == ("application/pdf", len(PDF), None)
    words = (
        "--title-zh",
        "維護",
        "--title-en",
        "Maintenance",
        "--text-zh",
        "主機更新",
        "--text-en",
        "New hosts",
    )
    pause = ("--pause-from", "2027-01-15T22:00", "--pause-until", "2027-01-16T02:00")
    news = home.look("publish", "news", *words, *pause).json
    assert home.number("SELECT count(*) FROM publication_content") == 1
    gone = home.look("publish", "withdraw", news["publication"], "--reason", "put off").json
    assert gone["withdrawn"] is not None
    listed = home.look("publish", "list").json["publications"]
    assert [one["standing"] for one in listed] == ["in-force"] * 6 + ["withdrawn"]


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("document", "--kind", "news", *TITLES, "--file", "FILE"), "kind"),
        (("document", "--kind", "fees", *TITLES, "--file", "FILE", "--effective", "soon"), "effective"),
        (("document", "--kind", "fees", *TITLES, "--file", "FILE", "--approved", "2027-02-29"), "approved"),
        (
            ("news", *TITLES, "--text-zh", "一", "--text-en", "one", "--pause-from", "2027-01-15"),
            "pause-until",
        ),
        (("news", *TITLES), "text-zh"),
        (("withdraw", "1", "--reason", "why"), "publication"),
    ],
)
def test_a_refusal_names_the_place(
    prepared: PreparedHome, file: Path, arguments: tuple[str, ...], place: str
) -> None:
    given = [file if argument == "FILE" else argument for argument in arguments]
    assert prepared.look("publish", *given, code=3).error["place"] == place
    assert prepared.number("SELECT count(*) FROM publication") == 0


def test_people_get_a_table(home: PreparedHome, file: Path) -> None:
    first_cps(home, file)
    listed = run_here("publish", "list", "--home", home.path)
    assert listed.code == 0
    assert "憑證實務作業基準" in listed.out
    assert "in-force" in listed.out
    news = run_here("publish", "news", "--home", home.path, *TITLES, "--text-zh", "一", "--text-en", "one")
    assert news.code == 0
    assert "news" in news.out
