"""What may be published: files, titles, texts, times."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputRejected
from engine.publication import content as content_module
from engine.publication.content import read_content
from engine.publication.moments import in_taipei, moment_from
from engine.publication.pauses import with_pause
from engine.publication.wording import TEXT_LIMIT, TITLE_LIMIT, wording

PDF = b"%PDF-1.4\n1 0 obj\nendobj\ntrailer\n%%EOF\n"


@pytest.mark.parametrize(
    ("name", "octets", "media_type"),
    [
        ("cps.pdf", PDF, "application/pdf"),
        ("CPS.PDF", PDF + b"\n" * 900, "application/pdf"),
        ("作業基準 2.4.pdf", PDF, "application/pdf"),
        ("收費.txt", "費用\r\n\t0 元\f".encode(), "text/plain"),
        ("bom.txt", "\ufeff費用".encode(), "text/plain"),
    ],
)
def test_files_that_are_published(tmp_path: Path, name: str, octets: bytes, media_type: str) -> None:
    (tmp_path / name).write_bytes(octets)
    assert read_content(tmp_path / name) == (octets, media_type, name)


@pytest.mark.parametrize(
    ("name", "octets", "message"),
    [
        ("page.html", b"<!doctype html>", "are not published"),
        ("picture.svg", b"<svg/>", "are not published"),
        ("noend", b"text", "are not published"),
        ("page.pdf", b"<script>%PDF-1.4 %%EOF", "no PDF"),
        ("cut.pdf", PDF[:-7], "no PDF"),
        ("trailed.pdf", PDF + b"x" * 1024, "no PDF"),
        ("big5.txt", "費用".encode("big5"), "not UTF-8 at octet 0"),
        ("nul.txt", b"a\x00b", "control character at position 1"),
        ("c1.txt", "a\x85b".encode(), "control character at position 1"),
        ("empty.txt", b"", "empty"),
        ('quo"te.pdf', PDF, "offered for download"),
        ("back\\slash.pdf", PDF, "offered for download"),
        ("line\nend.pdf", PDF, "a control character"),
        ("right\u202eto-left.pdf", PDF, "an invisible formatting character"),
        ("n" * 121 + ".pdf", PDF, "too long"),
    ],
)
def test_files_that_are_not(tmp_path: Path, name: str, octets: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(octets)
    with pytest.raises(InputRejected, match=message):
        read_content(tmp_path / name)


def test_a_file_is_a_file_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputRejected, match="not a file"):
        read_content(tmp_path / "missing.pdf")
    os.mkfifo(tmp_path / "pipe.pdf")
    with pytest.raises(InputRejected, match="not a file"):
        read_content(tmp_path / "pipe.pdf")
    path = tmp_path / "cps.pdf"
    path.write_bytes(PDF)
    monkeypatch.setattr(content_module, "SIZE_LIMIT", len(PDF))
    assert read_content(path).octets == PDF
    path.write_bytes(PDF + b"\n")
    with pytest.raises(InputRejected, match="too large"):
        read_content(path)


def test_words_are_kept_but_for_the_spaces_around_them() -> None:
    made = wording(" 公告\u3000", "News ", "一\r\n二\n", "one\ntwo")
    assert made == ("公告", "News", "一\n二", "one\ntwo")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("", "News"), "title-zh"),
        (("公告", " \u3000"), "title-en"),
        (("公告\n二", "News"), "title-zh"),
        (("字" * (TITLE_LIMIT + 1), "News"), "title-zh"),
        (("公告", "News", "內容"), "text-en"),
        (("公告", "News", "", "Text"), "text-zh"),
        (("公告", "News", "字" * (TEXT_LIMIT + 1), "Text"), "text-zh"),
        (("公告", "News", "內容", "a\x1b[31mb"), "text-en"),
        (("公告", "N\u202eews"), "title-en"),
        (("公告", "N\udcffews"), "title-en"),
        (("公告", "News", "內容", "one\u2028two"), "text-en"),
    ],
)
def test_words_that_are_refused(words: tuple[str, ...], place: str) -> None:
    with pytest.raises(InputRejected) as refused:
        wording(*words)
    assert refused.value.place == place
    assert refused.value.rule


@given(st.text(max_size=40))
def test_words_that_are_taken_are_printed_as_they_are(title: str) -> None:
    try:
        made = wording(title, "News")
    except InputRejected:
        return
    assert made.title_zh == title.strip()
    assert "\n" not in made.title_zh
    assert made.title_zh.encode("utf-8").decode("utf-8") == made.title_zh


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-15", datetime(2027, 1, 14, 16, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 2, 28, 16, tzinfo=UTC)),
        ("2027-01-15T22:00", datetime(2027, 1, 15, 14, tzinfo=UTC)),
        ("2027-01-15T22:00:07Z", datetime(2027, 1, 15, 22, 0, 7, tzinfo=UTC)),
        ("2027-01-15T22:00-05:00", datetime(2027, 1, 16, 3, tzinfo=UTC)),
    ],
)
def test_times_without_an_offset_are_those_of_taipei(text: str, moment: datetime) -> None:
    assert moment_from(text, "effective") == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "20270115",
        "2027-W03-5",
        "2027-02-29",
        "2027-13-01",
        "1969-12-31",
        "9999-12-31T23:59-23:59",
        "2027-01-15T24:00",
        "2027-01-15T22:00:07.5",
        "2027-01-15 22:00",
        "２０２７-01-15",
        "1160115",
    ],
)
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(InputRejected) as refused:
        moment_from(text, "effective")
    assert refused.value.place == "effective"
    assert "YYYY-MM-DD" in str(refused.value.rule)


@given(st.datetimes(datetime(1971, 1, 2), datetime(2199, 12, 30)))
def test_a_time_that_is_shown_can_be_given_back(shown: datetime) -> None:
    moment = shown.replace(microsecond=0, tzinfo=UTC)
    assert moment_from(in_taipei(moment), "effective") == moment


@pytest.mark.cps("2.6.4")
def test_a_planned_pause_stands_in_both_texts() -> None:
    begins, ends = moment_from("2027-01-15T22:00", "pause"), moment_from("2027-01-16T02:00", "pause")
    made = with_pause(wording("維護", "Maintenance", "主機更新", "New hosts"), begins, ends)
    assert made.text_zh == "暫停服務：2027-01-15 22:00 至 2027-01-16 02:00（臺灣時間）\n\n主機更新"
    assert made.text_en == "Service paused: 2027-01-15 22:00 to 2027-01-16 02:00 (Taiwan time)\n\nNew hosts"
    with pytest.raises(InputRejected, match="ends before it begins"):
        with_pause(made, ends, begins)
