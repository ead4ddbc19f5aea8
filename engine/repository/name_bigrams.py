"""Names as the search sees them: folded, and cut into pairs of neighbouring characters.

Chinese has no spaces between words, so a search by words finds nothing. A name is indexed by all its pairs of
neighbouring characters instead; the pairs of a question, one behind the other, are a phrase, and a phrase of
overlapping pairs is found exactly where the question stands in the name.
"""

from __future__ import annotations

import unicodedata

_MARKS = {code: 0xE000 + code for code in range(128) if not chr(code).isalnum()}
"""ASCII characters that FTS5's `ascii` tokenizer would take for gaps between words, or its questions for operators,
stand as private-use characters, which no name has (docs/decisions/0014)."""

_ENDS = {"股份有限公司": "股份", "有限公司": "有限"}
"""Legal forms, the longer one first, and the part of them that tells the rest."""


def folded(text: str) -> str:
    """Return what of a name or a question is compared: NFKC, no upper case, no blanks, and 台 for 臺.

    The two characters for Tai are one to everybody who searches; a register has either.
    """
    narrow = unicodedata.normalize("NFKC", text).casefold().replace("臺", "台")
    return "".join(narrow.split())


def bigrams(folded_text: str) -> str:
    """Return the pairs of neighbouring characters, as words with blanks between them; "" for a single character."""
    marked = folded_text.translate(_MARKS)
    return " ".join(marked[place : place + 2] for place in range(len(marked) - 1))


def phrase(folded_text: str) -> str:
    """Return the FTS5 question for names that contain a text of two or more characters."""
    return f'"{bigrams(folded_text)}"'


def telling_part(folded_text: str) -> str:
    """Return the text without what nearly always follows its end, which would cost most and tell nothing.

    What contains this contains the whole but for a few names, and those are looked at. A whole name is found in a
    third of the time (bench.repository_search).
    """
    for end, told in _ENDS.items():
        if folded_text.endswith(end) and len(folded_text) > len(end):
            return folded_text.removesuffix(end) + told
    return folded_text
