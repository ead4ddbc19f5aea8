"""Register extracts: JSON lines, a JSON array or CSV, told apart by content, of any size, in constant memory."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from engine.errors import InputRejected
from engine.kinds import Kind
from engine.register.csv_records import header_of, read_csv
from engine.register.json_array import read_json_array
from engine.register.json_lines import read_json_lines
from engine.register.records import MAX_ROW_BYTES, Record
from engine.register.row import RegisterRow, RowRejected
from engine.register.row_rules import read_row
from engine.register.shapes import is_header

_Reader = Callable[[BinaryIO], Iterator[Record | RowRejected]]


def read_register(path: Path, *, kind: Kind | None = None) -> Iterator[RegisterRow | RowRejected]:
    """Read a register extract row by row.

    The form is told by the first character, not by the file's name; every row has an outcome.

    Args:
        path: the extract, UTF-8 with or without byte order mark.
        kind: what every row is; needed for limited partnerships whose rows have no kind field.

    Returns:
        An iterator over the rows in the file's order, each as a row or as a reject.

    Raises:
        InputRejected: at the call: the file cannot be read, is empty, or is no register extract (an error of the
            open-data interface comes as plain text). While iterating: it cannot be read any further.
    """
    try:
        with path.open("rb") as file:
            reader = _reader_for(file.read(MAX_ROW_BYTES), str(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    return _rows(path, reader, kind)


def _rows(path: Path, reader: _Reader, kind: Kind | None) -> Iterator[RegisterRow | RowRejected]:
    try:
        with path.open("rb") as file:
            if file.read(len(BOM_UTF8)) != BOM_UTF8:
                file.seek(0)
            for record in reader(file):
                if isinstance(record, RowRejected):
                    yield record
                else:
                    yield read_row(*record, kind)
    except OSError as error:
        raise _unreadable(path, error) from error


def _reader_for(head: bytes, place: str) -> _Reader:
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise InputRejected("the extract is UTF-16", place=place, rule="an extract is UTF-8")
    text = head.removeprefix(BOM_UTF8).lstrip()
    if not text:
        raise InputRejected("the extract is empty", place=place)
    if text.startswith(b"["):
        return read_json_array
    lines = text.splitlines()
    if is_header(header_of(lines[0])):
        return read_csv
    if any(line.startswith(b"{") for line in lines):  # the first lines may be broken ones
        return read_json_lines
    raise InputRejected(  # without its beginning: it may be a PIN file named by mistake
        "not a register extract",
        place=place,
        rule="an extract is JSON lines, a JSON array, or CSV whose first line names the register's fields",
    )


def _unreadable(path: Path, error: OSError) -> InputRejected:
    return InputRejected(f"the extract cannot be read: {error.strerror or error}", place=str(path))
