"""Several rows for one number: which of them speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from engine.kinds import Kind
from engine.register.row import RegisterRow, RejectReason, RowRejected

_BUSINESS_IN_FORCE = "01"
_BUSINESS_MOVED = "05"


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What became of the rows for one number; every row is in exactly one place.

    Attributes:
        chosen: the row that speaks, or None when they contradict each other.
        merged: rows folded into it: repetitions, and a business's rows in counties it has left.
        rejected: all rows, when they contradict each other.
    """

    chosen: RegisterRow | None
    merged: tuple[RegisterRow, ...] = ()
    rejected: tuple[RowRejected, ...] = ()


def merge_rows(rows: Sequence[RegisterRow]) -> MergeResult:
    """Choose the row that speaks for a number.

    Rows that differ in nothing but their place are one. A business that moved has a row in every county: the one
    with status 01 speaks, else the one that is not 05 (moved away). Anything else that differs is a contradiction, and
    nothing is issued on it.

    Args:
        rows: all rows with the same identifier, at least one.
    """
    if len(rows) == 1:
        return MergeResult(rows[0])
    distinct = list({replace(row, row_number=0): row for row in reversed(rows)}.values())[::-1]
    speaking = _speaking(distinct)
    if len(speaking) == 1:
        chosen = speaking[0]
        return MergeResult(chosen, merged=tuple(row for row in rows if row is not chosen))
    return MergeResult(None, rejected=tuple(_contradictory(row, rows) for row in rows))


def _speaking(distinct: list[RegisterRow]) -> list[RegisterRow]:
    if any(row.kind is not Kind.BUSINESS for row in distinct):
        return distinct
    in_force = [row for row in distinct if row.status_code == _BUSINESS_IN_FORCE]
    return in_force or [row for row in distinct if row.status_code != _BUSINESS_MOVED] or distinct[:1]


def _contradictory(row: RegisterRow, rows: Sequence[RegisterRow]) -> RowRejected:
    others = ", ".join(str(other.row_number) for other in rows if other is not row)
    differing = [
        name
        for name in (field.name for field in fields(row))
        if name != "row_number" and any(getattr(other, name) != getattr(row, name) for other in rows)
    ]
    detail = f"differs in {', '.join(differing)} from the other rows for the number (row {others})"
    return RowRejected(row.row_number, row.identifier, RejectReason.ROWS_CONTRADICTORY, None, detail)
