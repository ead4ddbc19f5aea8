"""CSV (RFC 4180), UTF-8, the first record naming the fields.

A quote that is never closed swallows the rest of the file in an ordinary CSV reader. Here a record may go on over a
few lines while its quotes are open; if it does not become a record with the header's number of fields, its first line
alone is rejected and reading goes on with the next.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from engine.register.records import MAX_ROW_BYTES, Record, bounded_lines, not_utf8, row_too_long
from engine.register.row import RejectReason, RowRejected
from engine.register.shapes import IDENTIFIER_FIELDS

_LINES_PER_RECORD = 16  # a guess: an address may hold a line end, a register's field hardly a dozen


def header_of(line: bytes) -> list[str]:
    """Read the field names from the first line; empty when it is not one."""
    try:
        return [name.strip() for name in _fields(line.decode()) or []]
    except UnicodeDecodeError:
        return []


def read_csv(file: BinaryIO) -> Iterator[Record | RowRejected]:
    """Yield a record or a reject for every data record; numbers count data records, from 1. Blank lines are skipped.

    Args:
        file: stands before the header.
    """
    lines = _Lines(file)
    header = header_of(lines.next_line() or b"")
    number = 0
    while (line := lines.next_line()) != b"":
        if line is not None and line.isspace():
            continue
        number += 1
        if line is None:
            yield row_too_long(number)
            continue
        try:
            fields = _record(line, lines, len(header))
        except UnicodeDecodeError as error:
            yield not_utf8(number, None, error)
            continue
        if fields is None or len(fields) != len(header):
            yield _not_csv(number, header, fields)
        else:
            yield number, dict(zip(header, fields, strict=True))


class _Lines:
    """The lines of a file, some of which can be put back."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = bounded_lines(file)
        self._put_back: deque[bytes | None] = deque()

    def next_line(self) -> bytes | None:
        """Return the next line, None for one too long, empty at the end."""
        return self._put_back.popleft() if self._put_back else next(self._lines, b"")

    def put_back(self, lines: list[bytes | None]) -> None:
        self._put_back.extendleft(reversed(lines))


def _record(line: bytes, lines: _Lines, width: int) -> list[str] | None:
    """Read the record that begins with a line, over further lines while a quote is open."""
    fields = _fields(line.decode())
    if fields is not None or line.count(b'"') % 2 == 0:
        return fields
    taken: list[bytes | None] = []
    joined = line
    while len(taken) < _LINES_PER_RECORD and len(joined) < MAX_ROW_BYTES and (further := lines.next_line()):
        taken.append(further)
        joined += further
        if further.count(b'"') % 2:
            fields = _fields(joined.decode(errors="replace"))
            if fields is not None and len(fields) == width:
                joined.decode()
                return fields
    lines.put_back(taken)
    return None


def _fields(text: str) -> list[str] | None:
    """Split one record; None when its quotes are wrong."""
    text = text.rstrip("\r\n")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return None


def _not_csv(number: int, header: list[str], fields: list[str] | None) -> RowRejected:
    if fields is None:
        detail = "a quoted field is not closed, or goes on behind its closing quote (RFC 4180 section 2)"
        return RowRejected(number, None, RejectReason.NOT_CSV, None, detail)
    by_name = dict(zip(header, fields, strict=False))
    identifier = next((by_name[name] for name in IDENTIFIER_FIELDS if by_name.get(name)), None)
    detail = f"{len(fields)} fields; the header names {len(header)} (RFC 4180 section 2)"
    return RowRejected(number, identifier, RejectReason.NOT_CSV, None, detail)
