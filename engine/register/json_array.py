"""A JSON array of objects, of any size, in constant memory, with no good element lost to a broken one.

The file is read in chunks. A chunk is cut after its last closing brace; what lies before is a comma-separated list of
whole elements nearly always, and is parsed in one call. Where that fails, the list is taken apart brace by brace: an
element is the shortest text from a brace to a closing brace that is a JSON object; where there is none, the text up to
what looks like the next element is rejected. What stands between two objects is only looked at for further values: a
missing comma, or pages of the open-data interface written one behind the other, cost no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from engine.register.records import (
    MAX_ROW_BYTES,
    Record,
    not_a_record,
    readable_identifier,
    record_of,
    row_too_long,
)
from engine.register.row import RejectReason, RowRejected

_CHUNK_BYTES = 262_144  # a guess: some 800 rows, so that the call per chunk costs nothing per row
_SEPARATORS = b" \t\r\n,[]"
_NO_JSON = b"\x00"  # may stand nowhere in a JSON text (RFC 8259 sections 2 and 7)
_CLOSING_BRACES_TRIED = 8
"""How many closing braces are tried as an element's end. A guess: rows are flat, a name may hold a brace or two."""

_NEXT_ELEMENT = re.compile(rb'[\s,\[\]}]\{\s*"')
"""A brace behind a separator and before a quote: inside a text of JSON that quote would stand behind a backslash."""


@dataclass(frozen=True, slots=True)
class _Broken:
    """A piece of the array that is no value."""

    text: bytes


@dataclass(frozen=True, slots=True)
class _CutOff:
    """The end of an array that is not closed."""

    offset: int
    identifier: str | None


def read_json_array(file: BinaryIO) -> Iterator[Record | RowRejected]:
    """Yield a record or a reject for every element; numbers are those of the elements, from 1.

    An array that is cut off ends with a reject that says where; the elements before it are good.

    Args:
        file: stands before the opening bracket.
    """
    for number, value in enumerate(_values(file), start=1):
        if isinstance(value, _Broken):
            is_too_long = len(value.text) > MAX_ROW_BYTES
            yield row_too_long(number) if is_too_long else not_a_record(number, value.text)
        elif isinstance(value, _CutOff):
            detail = f"the array ends at byte {value.offset} without its closing bracket"
            yield RowRejected(number, value.identifier, RejectReason.ARRAY_CUT_OFF, None, detail)
        else:
            yield record_of(number, value)


def _values(file: BinaryIO) -> Iterator[object]:
    pending = file.read(_CHUNK_BYTES).lstrip()[1:]  # without the opening bracket
    while chunk := file.read(_CHUNK_BYTES):
        pending += chunk
        end = pending.rfind(b"}") + 1
        if end:
            values, rest = _split(pending[:end], is_last=False)
            pending = rest + pending[end:]
            yield from values
        elif len(pending) > MAX_ROW_BYTES:
            pending = (
                pending[:MAX_ROW_BYTES] + _NO_JSON
            )  # what is left out must not make a shorter, good value
    pending = pending.rstrip()
    is_closed = pending.endswith(b"]")
    values, _ = _split(pending[:-1] if is_closed else pending, is_last=True)
    partial = values.pop() if values and not is_closed and isinstance(values[-1], _Broken) else None
    yield from values
    if not is_closed:
        identifier = readable_identifier(partial.text) if isinstance(partial, _Broken) else None
        yield _CutOff(file.tell(), identifier)


def _split(text: bytes, *, is_last: bool) -> tuple[list[object], bytes]:
    """Return the values in a part of the array, and the text of one that may go on in the next part."""
    values = _list_of(text)
    return (values, b"") if values is not None else _take_apart(text, is_last=is_last)


def _list_of(text: bytes) -> list[object] | None:
    """Parse text as the inside of an array; None when it is not."""
    try:
        values: list[object] = orjson.loads(b"[" + text.lstrip(b" \t\r\n,") + b"]")
    except orjson.JSONDecodeError:
        return None
    return values


def _take_apart(text: bytes, *, is_last: bool) -> tuple[list[object], bytes]:
    values: list[object] = []
    position = 0
    while (start := text.find(b"{", position)) >= 0:
        values += _between(text[position:start])
        value, end, may_go_on = _object_at(text, start)
        if value is None and may_go_on and not is_last:
            return values, text[start:]
        if value is None:
            following = _NEXT_ELEMENT.search(text, start + 1)
            end = following.start() + 1 if following is not None else len(text)
            value = _Broken(text[start:end])
        values.append(value)
        position = end
    return values + _between(text[position:]), b""


def _object_at(text: bytes, start: int) -> tuple[object | None, int, bool]:
    """Find the object that begins at a brace: value, end, and, if there is none, whether more text may complete it."""
    end = start
    for _ in range(_CLOSING_BRACES_TRIED):
        end = text.find(b"}", end) + 1
        if not end:
            return None, 0, len(text) - start <= MAX_ROW_BYTES
        try:
            return orjson.loads(text[start:end]), end, False
        except orjson.JSONDecodeError:
            continue
    return None, 0, False


def _between(text: bytes) -> list[object]:
    """Return the values between two objects: none where only separators stand."""
    text = text.strip(_SEPARATORS)
    if not text:
        return []
    values = _list_of(text)
    return values if values is not None else [_Broken(text)]
