"""Both languages have the same keys; the scripts and templates name none that is missing."""

from __future__ import annotations

import re

from engine.pkcs11.lanes import Lane
from engine.store.runs import RunState
from responders.operator.pages import STATIC, texts
from responders.repository_site.wording import Language
from tests.two_languages import assert_alike, keys

TEMPLATES = STATIC.parent / "templates"


def test_both_languages_say_the_same_things() -> None:
    assert_alike(texts(Language.ZH), texts(Language.EN))


def test_every_value_has_a_word() -> None:
    assert {state.value for state in RunState} <= set(texts(Language.EN)["runs"])
    assert {lane.label for lane in Lane} <= set(texts(Language.EN)["lanes"])


def test_every_text_that_is_named_is_there() -> None:
    pages = "".join(path.read_text("utf-8") for path in TEMPLATES.glob("*.html"))
    scripts = "".join(path.read_text("utf-8") for path in STATIC.glob("*.js"))
    named = set(re.findall(r"\bt\.(\w+\.\w+)", pages)) | set(re.findall(r"\btexts\.(\w+\.\w+)", scripts))
    assert len(named) > 50
    assert named <= keys(texts(Language.EN))
