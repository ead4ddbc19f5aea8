"""What may be asked, and how it is told what a question breaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.repository.name_bigrams import folded

NAME_CHARACTERS = 128
"""A name and a branch's name: 64 each (RFC 5280 appendix A.1)."""

PAGE_CERTIFICATES = 20
"""On a page. A guess: what a screen or two hold."""

MOST_CERTIFICATES = 100
"""In one answer. A guess: more is for the feed."""

LAST_ITEM = (1 << 62) - 1
"""Above every item; SQLite's integers have 63 bits."""

SERIAL_PATTERN = r"^[0-9A-Fa-f]{32}$"
NUMBER_PATTERN = r"^[0-9]{8}$"
_SERIAL, _NUMBER = re.compile(SERIAL_PATTERN, re.ASCII), re.compile(NUMBER_PATTERN, re.ASCII)


class QuestionRefused(Exception):
    """A question breaks a rule.

    Args:
        field: the parameter that is wrong.
        rule: what it should be, for those who read JSON.
        wording: the key of the same in the texts of the pages.
    """

    def __init__(self, field: str, rule: str, wording: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule
        self.wording = wording


def _searchable(text: str) -> str:
    if not text.isprintable() or not folded(text):
        raise ValueError("printable characters, not only blanks")
    return text


class CertificateQuestion(BaseModel):
    """A search. Just one of serial, number and name is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    serial: Annotated[str, Field(pattern=SERIAL_PATTERN)] | None = Field(
        default=None, description="serial number: 32 hexadecimal digits"
    )
    number: Annotated[str, Field(pattern=NUMBER_PATTERN)] | None = Field(
        default=None, description="uniform number (統一編號): eight digits"
    )
    name: (
        Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS), AfterValidator(_searchable)] | None
    ) = Field(default=None, description="part of a name; a single character: its beginning")
    after: Annotated[int, Field(ge=0, le=LAST_ITEM)] = Field(
        default=0, description="`next` of the page before"
    )
    limit: Annotated[int, Field(ge=1, le=MOST_CERTIFICATES)] = Field(
        default=PAGE_CERTIFICATES, description="how many at most"
    )

    @model_validator(mode="after")
    def _one_thing_is_asked_for(self) -> Self:
        if [self.serial, self.number, self.name].count(None) != 2:
            raise ValueError("just one of serial, number and name")
        return self


def refusal_of(error: ValidationError) -> QuestionRefused:
    """Return what pydantic found, in our words."""
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in fault["loc"][:1]) or "serial, number, name"
    return QuestionRefused(field, fault["msg"].removeprefix("Value error, "), "question")


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed into the search field of the page, as it was understood."""

    text: str
    question: CertificateQuestion


def typed(text: str, after: str) -> Typed:
    """Understand what was typed: eight digits are a 統一編號, 32 hexadecimal digits a serial number, all else a name.

    Args:
        text: the field; colons and blanks between the digits of a serial number do not count.
        after: where the page begins, from a link of the page before; "" for the first.

    Raises:
        QuestionRefused: too long, or with characters that no name has; or the page's beginning is no number.
    """
    wanted = text.strip()
    digits = re.sub(r"[\s:]", "", wanted)
    if not re.fullmatch(r"[0-9]{0,19}", after, re.ASCII) or int(after or 0) > LAST_ITEM:
        raise QuestionRefused("after", "the number of an item", "after")
    if len(wanted) > NAME_CHARACTERS:
        raise QuestionRefused("q", f"at most {NAME_CHARACTERS} characters", "q_long")
    if not wanted.isprintable() or not folded(wanted):
        raise QuestionRefused("q", "printable characters, not only blanks", "q_characters")
    place = int(after or 0)
    if _SERIAL.fullmatch(digits):
        return Typed(wanted, CertificateQuestion(serial=digits, after=place))
    if _NUMBER.fullmatch(digits):
        return Typed(wanted, CertificateQuestion(number=digits, after=place))
    return Typed(wanted, CertificateQuestion(name=wanted, after=place))


def serial_from(text: str, field: str = "serial") -> bytes:
    """Read a serial number; colons and blanks between its digits do not count.

    Raises:
        QuestionRefused: it is none of this CA's.
    """
    digits = re.sub(r"[\s:]", "", text) if len(text) <= NAME_CHARACTERS else ""
    if not _SERIAL.fullmatch(digits):
        raise QuestionRefused(field, "32 hexadecimal digits", "serial")
    return bytes.fromhex(digits)
