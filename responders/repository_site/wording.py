"""The two languages of the pages: which one, its texts, and how it writes times and sizes."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from werkzeug.datastructures import LanguageAccept

from engine.clock import TAIPEI

_TEXTS = Path(__file__).parent / "texts"


class Language(Enum):
    """A language of the pages; the value is the beginning of its paths."""

    ZH = "zh"
    EN = "en"

    @property
    def tag(self) -> str:
        """As `lang` attributes and headers say it (BCP 47)."""
        return {"zh": "zh-Hant-TW", "en": "en"}[self.value]

    @property
    def other(self) -> Language:
        """The other one."""
        return Language.EN if self is Language.ZH else Language.ZH


def preferred(accepted: LanguageAccept) -> Language:
    """Return the language for an Accept-Language: Chinese unless English is liked better (RFC 9110 section 12.5.4)."""
    return Language.EN if accepted.best_match(["zh-TW", "en"], "zh-TW") == "en" else Language.ZH


@cache
def texts(language: Language) -> dict[str, Any]:
    """Return all texts of a language."""
    return tomllib.loads((_TEXTS / f"{language.value}.toml").read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Writing:
    """How a language writes values; the functions are the filters of the templates.

    Args:
        language: the language.
    """

    language: Language

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by the names that templates use."""
        return {
            "day": self.day,
            "minute": self.minute,
            "octets": self.octets,
            "thousands": self.thousands,
            "paragraphs": self.paragraphs,
        }

    def day(self, moment: datetime) -> Markup:
        """Write the day in Taipei."""
        return _time(moment, self._day(moment))

    def minute(self, moment: datetime) -> Markup:
        """Write day and time in Taipei."""
        joined = " " if self.language is Language.ZH else ", "
        return _time(moment, f"{self._day(moment)}{joined}{moment.astimezone(TAIPEI):%H:%M}")

    def _day(self, moment: datetime) -> str:
        local = moment.astimezone(TAIPEI)
        if self.language is Language.ZH:
            return f"{local.year} 年 {local.month} 月 {local.day} 日"
        return f"{local.day} {_MONTHS[local.month - 1]} {local.year}"

    def octets(self, size: int) -> str:
        """Write a size."""
        if size < 1_000:
            return f"{size} {'位元組' if self.language is Language.ZH else 'bytes'}"
        return f"{size / 1_000:,.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:,.1f} MB"

    def thousands(self, number: int) -> str:
        """Write a number with commas."""
        return f"{number:,}"

    def paragraphs(self, text: str) -> Markup:
        """Write a text whose paragraphs are parted by empty lines."""
        parts = [part.strip() for part in text.replace("\r\n", "\n").split("\n\n")]
        return Markup("\n").join(
            Markup("<p>{}</p>").format(Markup("<br>").join(escape(line) for line in part.split("\n")))
            for part in parts
            if part
        )


_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _time(moment: datetime, text: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat().replace("+00:00", "Z"), text)
