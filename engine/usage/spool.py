"""The spool: what relying parties asked, in files that only grow.

A process that answers has one file a month, named by the month and by random digits of its own, and appends a line for
each account that asked since the line before (JSON: `{"at": …, "account": …, "answers": …, "refused": …}`; `at` in
seconds since the epoch is when that time began). Nobody else writes to it, so files are appended to without a lock,
and copied by whoever remembers how far he has come. A line counts when its end is there. Months and days are those of
Taipei: so bills are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from engine.clock import TAIPEI
from engine.errors import InputRejected

FILE_NAME = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2]))\.[0-9a-f]{16}\.jsonl")
"""The month, and who writes."""

MOST_COUNT = 1 << 53
"""What JSON carries everywhere."""


class Usage(NamedTuple):
    """What one account asked since a moment."""

    at: int
    """Seconds since the epoch: when the time began in which it was asked."""
    account: str
    answers: int
    refused: int
    """Requests over the quota."""


def month_of(at: int) -> str:
    """Return the calendar month of a moment in Taipei: `2026-09`."""
    return datetime.fromtimestamp(at, TAIPEI).strftime("%Y-%m")


def day_of(at: int) -> str:
    """Return the day of a moment in Taipei: `2026-09-30`."""
    return datetime.fromtimestamp(at, TAIPEI).strftime("%Y-%m-%d")


def seconds_to_midnight(at: float) -> float:
    """Return how long a moment is before the end of its day in Taipei."""
    day = 86_400  # without daylight saving every day has so many (engine/clock.py)
    offset = TAIPEI.utcoffset(datetime.fromtimestamp(at, UTC)).total_seconds()
    return day - (at + offset) % day


def file_name(month: str, writer: str) -> str:
    """Return the name of a writer's file of a month."""
    return f"{month}.{writer}.jsonl"


def month_of_file(name: str) -> str | None:
    """Return the month of a file of the spool; None for any other file."""
    found = FILE_NAME.fullmatch(name)
    return found and found[1]


def lines_of(usages: Iterable[Usage]) -> bytes:
    """Return usages as they are written."""
    return b"".join(orjson.dumps(usage._asdict()) + b"\n" for usage in usages)


def usages_in(lines: bytes, place: str) -> Iterator[Usage]:
    """Read whole lines.

    Args:
        lines: each with its end.
        place: where they are from, for the error.

    Raises:
        InputRejected: a line is none of ours.
    """
    for line in lines.splitlines():
        try:
            usage = Usage(**orjson.loads(line))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise InputRejected("this is no line of a spool", place=place, value=line) from error
        if not _is_sound(usage):
            raise InputRejected("this is no line of a spool", place=place, value=line)
        yield usage


def _is_sound(usage: tuple[object, ...]) -> bool:
    at, account, *counts = usage
    return isinstance(account, str) and all(
        type(one) is int and 0 <= one < MOST_COUNT for one in (at, *counts)
    )


def read_whole_lines(path: Path, offset: int, most: int = -1) -> bytes:
    """Return what stands in a file from an offset on, up to the end of its last whole line.

    Args:
        path: the file.
        offset: in octets; the beginning of a line.
        most: octets to be read; at least one line must fit them. Without it, all.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(offset)
        octets = file.read(most)
    return octets[: octets.rfind(b"\n") + 1]


def spool_files(directory: Path, month: str | None = None) -> list[Path]:
    """Return the files of a spool, of one month or all, by name; none where the directory is not there yet."""
    try:
        found = [path for path in directory.iterdir() if month_of_file(path.name) is not None]
    except FileNotFoundError:
        return []
    return sorted(path for path in found if month in (None, month_of_file(path.name)))
