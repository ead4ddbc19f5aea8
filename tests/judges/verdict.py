"""What a judge says about one certificate: one word, the reason if it tells one, and its own words."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Word(StrEnum):
    """What a relying party would take from the answer."""

    GOOD = "good"
    REVOKED = (
        "revoked"  # a suspended certificate is revoked with reason certificateHold (RFC 5280 section 5.3.1)
    )
    UNKNOWN = "unknown"
    REFUSED = "refused"  # it believes nothing of what it got, or got nothing


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict.

    Args:
        word: the verdict.
        reason: why revoked, by RFC 5280's name (`keyCompromise`); None when the judge does not tell.
        said: what the program printed or raised; for the reader of a failed test, not compared.
    """

    word: Word
    reason: str | None = None
    said: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.word}, {self.reason}" if self.reason else str(self.word)


def refused(said: str) -> Verdict:
    return Verdict(Word.REFUSED, said=said)


REASONS = (
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
)
"""CRLReason's names, RFC 5280 section 5.3.1; without `unspecified`, which says no more than no reason does."""


def reason_named(text: str) -> str | None:
    """Find the CRLReason that a program means by a spelling of its own: "Key Compromise", "KEY_COMPROMISE"."""

    def plain(name: str) -> str:
        return "".join(letter for letter in name.lower() if letter.isalpha())

    return next((name for name in REASONS if plain(name) == plain(text)), None)
