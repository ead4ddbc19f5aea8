"""The tables of the README: what each judge says of each case. The tests go by them, so that they stay true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.judges.verdict import Verdict, Word

_README = Path(__file__).parent / "README.md"

BAD_CLAIMS = ("good", "revoked")
"""What a bad answer is made to say, one after the other: only both together show whether a judge heeds it."""


def table(heading: str) -> dict[tuple[str, str], str]:
    """Read the table under a heading: (case, judge) to what is in the cell."""
    part = _README.read_text("utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    head, _, *rows = [_cells(line) for line in part.splitlines() if line.startswith("|")]
    return {(row[0], judge): cell for row in rows for judge, cell in zip(head[1:], row[1:], strict=True)}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def on_good_answer(verdict: Verdict) -> str:
    """The cell for an answer that is as it should be: the verdict."""
    return str(verdict)


def on_bad_answer(verdicts: Sequence[Verdict], unheeded: Sequence[Word] = (Word.GOOD, Word.GOOD)) -> str:
    """The cell for an answer that should be refused, from the verdicts on it with either claim.

    Args:
        verdicts: when it says good, when it says revoked.
        unheeded: the verdicts of one who goes on as if it had not come.

    Returns:
        "refused"; "believed": it takes over what it was told; "revoked is believed", but not good; or "ignored": it
        would say the same without.
    """
    words = tuple(verdict.word for verdict in verdicts)
    known = {
        (Word.REFUSED, Word.REFUSED): "refused",
        (Word.GOOD, Word.REVOKED): "believed",
        (Word.REFUSED, Word.REVOKED): "revoked is believed",
        tuple(unheeded): "ignored",
    }
    return known.get(words, f"unclear: {', '.join(words)}: {verdicts}")
