"""The fields that rows of an exchange have in common, and the rule of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import TypeVar

import orjson
from pydantic import JsonValue

from engine.errors import InputRejected
from engine.kinds import Kind, Rank, Usage

Row = dict[str, JsonValue]
Choice = TypeVar("Choice")

KINDS: Mapping[str, Kind] = {kind.value: kind for kind in Kind}
RANKS: Mapping[str, Rank] = {rank.value: rank for rank in Rank}

SIGNATURE_ONLY = frozenset({Kind.ONE_STOP, Kind.SETUP})
"""The kinds that have no encryption certificate (CPS summary 2)."""

USAGES_OF_KIND: Mapping[Kind, Mapping[str, Usage]] = {
    kind: {usage.value: usage for usage in Usage if usage is Usage.SIGNATURE or kind not in SIGNATURE_ONLY}
    for kind in Kind
}
"""For each kind the key pairs that go with it, by their name in files (CPS 1.3.5.1)."""

CARD_NUMBER = re.compile(r"[A-Z]{2}[0-9]{14}")
"""Two letters and fourteen digits (GPKI profile, "Card numbers")."""

MAXIMUM_TEXT = 256
"""Characters that a text field has at most, so that a reject report stays readable; the names' own limits are the
register's and the profiles' business. A guess."""

CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")


def parse_row(line: bytes) -> Row:
    """Parse a line that must be a JSON object, or raise InputRejected."""
    rule = "one JSON object a line (RFC 8259)"
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputRejected("the line is not JSON", rule=rule) from error
    if not isinstance(row, dict):
        raise InputRejected("the line is not a JSON object", rule=rule)
    return row


def check_fields(row: Mapping[str, JsonValue], fields: Set[str], within: str = "") -> None:
    """Raise InputRejected unless an object has just these fields; `within` is put before the name of the wrong one."""
    if row.keys() != fields:
        field = min(row.keys() ^ fields)
        message = "the field is missing" if field in fields else "the field is unknown"
        raise InputRejected(message, place=within + field, rule=f"just {', '.join(sorted(fields))}")


def choice(row: Row, field: str, choices: Mapping[str, Choice]) -> Choice:
    """Return what a field names, or raise InputRejected."""
    value = row[field]
    if not isinstance(value, str) or value not in choices:
        raise InputRejected(
            "not one of the values", place=field, value=value, rule=f"one of {', '.join(choices)}"
        )
    return choices[value]


def text(row: Row, field: str) -> str:
    """Return a text field, or raise InputRejected."""
    value = row[field]
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= MAXIMUM_TEXT
        or value.isspace()
        or CONTROL_CHARACTER.search(value)
    ):
        rule = f"a text of 1 to {MAXIMUM_TEXT} characters, not blank, without control characters"
        raise InputRejected("not such a text", place=field, value=value, rule=rule)
    return value


def card_number(row: Row) -> str:
    """Return the card number, or raise InputRejected."""
    value = row["card_number"]
    if not isinstance(value, str) or CARD_NUMBER.fullmatch(value) is None:
        raise InputRejected(
            "not a card number", place="card_number", value=value, rule="two letters and fourteen digits"
        )
    return value
