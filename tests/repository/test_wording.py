"""The texts of both languages have the same keys, and every one of them is used."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from engine.kinds import Kind, Rank, Usage
from engine.publication_kinds import PublicationKind, Significance, Standing
from engine.status.crl_reasons import CrlReason
from responders.repository_site import wording
from responders.repository_site.answers import CrlKind, State
from responders.repository_site.wording import Language, Writing, texts
from tests.two_languages import assert_alike, keys

TEMPLATES = Path(wording.__file__).parent / "templates"


def test_both_languages_say_the_same_things() -> None:
    assert_alike(texts(Language.ZH), texts(Language.EN))


def test_every_value_has_a_word() -> None:
    for section, values in {
        "kind": Kind,
        "usage": Usage,
        "rank": Rank,
        "state": State,
        "document_kind": PublicationKind,
        "standing": Standing,
        "significance": Significance,
        "crls": CrlKind,
    }.items():
        assert {one.value for one in values} <= set(texts(Language.ZH)[section]), section
    assert {reason.name for reason in CrlReason} == set(texts(Language.ZH)["reason"])


def test_every_text_that_a_template_names_is_there() -> None:
    named = {
        match
        for path in TEMPLATES.glob("*.html")
        for match in re.findall(r"\bt\.(\w+\.\w+)", path.read_text("utf-8"))
    }
    assert named <= keys(texts(Language.ZH))


def test_times_are_those_of_taipei() -> None:
    moment = datetime(2026, 11, 23, 16, 31, tzinfo=UTC)
    assert Writing(Language.ZH).minute(moment) == (
        '<time datetime="2026-11-23T16:31:00Z">2026 年 11 月 24 日 00:31</time>'
    )
    assert ">24 November 2026, 00:31<" in Writing(Language.EN).minute(moment)


def test_paragraphs_are_text() -> None:
    made = Writing(Language.EN).paragraphs("one & <b>\ntwo\r\n\r\nthree\n\n\n")
    assert made == "<p>one &amp; &lt;b&gt;<br>two</p>\n<p>three</p>"
