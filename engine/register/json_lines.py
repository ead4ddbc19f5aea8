"""JSON lines: one object a line, UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from engine.register.records import Record, bounded_lines, not_a_record, record_of, row_too_long
from engine.register.row import RowRejected


def read_json_lines(file: BinaryIO) -> Iterator[Record | RowRejected]:
    """Yield a record or a reject for every line that is not blank; numbers are line numbers, from 1."""
    for number, line in enumerate(bounded_lines(file), start=1):
        if line is None:
            yield row_too_long(number)
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line.isspace():
                yield not_a_record(number, line)
            continue
        yield record_of(number, value)
