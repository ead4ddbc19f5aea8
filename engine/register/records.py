"""What every reader hands on: a numbered record of named fields, or the reject for a piece that is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import orjson

from engine.register.row import RejectReason, RowRejected
from engine.register.shapes import IDENTIFIER_FIELDS

Record = tuple[int, Mapping[str, object]]
"""The record's number in its file, from 1, and its fields."""

MAX_ROW_BYTES = 65_536
"""Longest row that is held in memory. A guess: real rows are below 2,000 bytes."""

_IDENTIFIER = {field: re.compile(rb'"%s"\s*:\s*"([0-9]{8})"' % field.encode()) for field in IDENTIFIER_FIELDS}


def bounded_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines of a file with their ends; None for one longer than `MAX_ROW_BYTES`, which is skipped."""
    while line := file.readline(MAX_ROW_BYTES):
        if len(line) < MAX_ROW_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(MAX_ROW_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


def record_of(number: int, value: object) -> Record | RowRejected:
    """Take a parsed JSON value as a record; only an object is one."""
    if isinstance(value, dict):
        return number, value
    detail = f"a row is a JSON object; found {type(value).__name__}"
    return RowRejected(number, None, RejectReason.NOT_AN_OBJECT, None, detail)


def row_too_long(number: int) -> RowRejected:
    """Return the reject for a row longer than `MAX_ROW_BYTES`."""
    detail = f"a row has at most {MAX_ROW_BYTES} bytes"
    return RowRejected(number, None, RejectReason.ROW_TOO_LONG, None, detail)


def not_a_record(number: int, text: bytes) -> RowRejected:
    """Return the reject for text that is not JSON: why, and whose it seems to be. Its content is not repeated."""
    identifier = readable_identifier(text)
    try:
        text.decode()
        orjson.loads(text)
    except UnicodeDecodeError as error:
        return not_utf8(number, identifier, error)
    except orjson.JSONDecodeError as error:
        detail = f"{error.msg} at character {error.colno} of line {error.lineno} of the row"
        return RowRejected(number, identifier, RejectReason.NOT_JSON, None, detail)
    return RowRejected(number, identifier, RejectReason.NOT_JSON, None, "stands where no value may stand")


def not_utf8(number: int, identifier: str | None, error: UnicodeDecodeError) -> RowRejected:
    """Return the reject for bytes that are not UTF-8 (RFC 3629)."""
    detail = (
        f"byte {error.start + 1} of the row, 0x{error.object[error.start]:02x}, is not UTF-8: {error.reason}"
    )
    return RowRejected(number, identifier, RejectReason.NOT_UTF8, None, detail)


def readable_identifier(text: bytes) -> str | None:
    """Find the 統一編號 in a piece of broken JSON, for the report."""
    for pattern in _IDENTIFIER.values():
        found = pattern.search(text)
        if found is not None:
            return found.group(1).decode()
    return None
