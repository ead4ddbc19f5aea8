"""Titles and texts as they are shown to everybody, in Traditional Chinese and English."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from engine.errors import InputRejected

TITLE_LIMIT = 200
"""Characters of a title. A guess: two lines on a narrow screen."""
TEXT_LIMIT = 20_000
"""Characters of a text. A guess: longer ones belong into a document."""
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,31}")
_REFUSED = {
    "Cc": "a control character",
    "Cf": "an invisible formatting character",
    "Cs": "an unpaired surrogate",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
"""By the general category of Unicode: such characters change what a reader sees without being seen."""


class Wording(NamedTuple):
    """Title and text in both languages; made by `wording`."""

    title_zh: str
    title_en: str
    text_zh: str
    text_en: str

    def with_lines(self, zh: str, en: str) -> Wording:
        """Return it with a line put before each text."""
        return self._replace(
            text_zh=f"{zh}\n\n{self.text_zh}".strip(), text_en=f"{en}\n\n{self.text_en}".strip()
        )


def wording(title_zh: str, title_en: str, text_zh: str = "", text_en: str = "") -> Wording:
    """Check titles and texts; spaces around them are dropped.

    Raises:
        InputRejected: a title is empty; one language has a text and the other has none; something is too long or
            has characters that are not seen.
    """
    made = Wording(
        line(title_zh, "title-zh"),
        line(title_en, "title-en"),
        _text(text_zh, "text-zh"),
        _text(text_en, "text-en"),
    )
    if bool(made.text_zh) != bool(made.text_en):
        missing = "text-en" if made.text_zh else "text-zh"
        raise InputRejected("a text is missing", place=missing, rule="a text is given in both languages")
    return made


def line(value: str, place: str, limit: int = TITLE_LIMIT) -> str:
    """Check one line of text that may not be empty.

    Raises:
        InputRejected: it is empty, too long, or has characters that are not seen.
    """
    stripped = value.strip()
    if not stripped:
        raise InputRejected("nothing is written here", place=place, rule=f"1 to {limit} characters")
    return _checked(stripped, place, limit)


def version_from(value: str) -> str:
    """Check a version.

    Raises:
        InputRejected: it is none.
    """
    if _VERSION.fullmatch(value) is None:
        raise InputRejected(
            "not a version",
            place="version",
            value=value,
            rule="1 to 32 letters, digits, points, hyphens and underscores, such as 2.4",
        )
    return value


def _text(value: str, place: str) -> str:
    return _checked(value.replace("\r\n", "\n").strip(), place, TEXT_LIMIT, line_ends="\n")


def _checked(value: str, place: str, limit: int, line_ends: str = "") -> str:
    if len(value) > limit:
        raise InputRejected("too long", place=place, value=len(value), rule=f"at most {limit} characters")
    for position, character in enumerate(value, start=1):
        fault = None if character in line_ends else _REFUSED.get(unicodedata.category(character))
        if fault is not None:
            raise InputRejected(
                f"{fault} at character {position}",
                place=place,
                value=f"U+{ord(character):04X}",
                rule="text that is seen, and line ends in texts",
            )
    return value
