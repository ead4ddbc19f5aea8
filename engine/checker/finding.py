"""What a check found, and what makes a row that cannot be read a finding instead of an end."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
    UnsupportedAlgorithm,
)
"""What reading octets and JSON of unknown content raises, here and in cryptography."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must never be.

    Attributes:
        rule: the name of the rule, as in docs/checker.md.
        place: the table and row, or the file.
        what: what stands there, and what should.
    """

    rule: str
    place: str
    what: str


def judge_each(
    rule: str, table: str, rows: Iterable[tuple[Any, ...]], faults_of: Callable[..., Iterable[str]]
) -> Iterator[Finding]:
    """Judge rows one by one.

    Args:
        rule: the rule.
        table: what the rows are of.
        rows: the first column says which row it is.
        faults_of: takes the columns; yields what is wrong. It may raise one of UNREADABLE, or InvalidSignature.
    """
    for row in rows:
        try:
            faults = list(faults_of(*row))
        except InvalidSignature:
            faults = ["the signature does not verify"]
        except UNREADABLE as error:
            faults = [f"cannot be read: {type(error).__name__}: {error}"]
        for fault in faults:
            yield Finding(rule, f"{table} {row[0]}", fault)
