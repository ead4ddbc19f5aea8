"""The CA host's copies of the spools of public hosts.

Files of a spool only grow, so a copy is brought up to date by what stands after its end; and one that is longer than
what it is a copy of means that counts were taken away, which is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.errors import InputRejected
from engine.store.database import Store
from engine.usage.spool import month_of, month_of_file, read_whole_lines, spool_files, usages_in

PIECE_OCTETS = 1 << 20
"""Fetched at once; more than the longest line. A guess."""


class SpoolFile(NamedTuple):
    """A file of a spool."""

    name: str
    octets: int


class Spool(Protocol):
    """Whatever has the files of a spool: a directory, or a public host."""

    def files(self) -> Iterable[SpoolFile]:
        """Return what there is."""
        ...

    def read(self, name: str, offset: int) -> bytes:
        """Return whole lines from an offset on, `PIECE_OCTETS` at most; nothing where there are none."""
        ...


class SpoolDirectory:
    """A spool, or a copy that somebody carried here.

    Args:
        path: the directory.

    Raises:
        InputRejected: there is none.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise InputRejected("there is no such directory", place=str(path))
        self._path = path

    def files(self) -> list[SpoolFile]:
        """Return what there is."""
        return [SpoolFile(path.name, path.stat().st_size) for path in spool_files(self._path)]

    def read(self, name: str, offset: int) -> bytes:
        """Return whole lines from an offset on, `PIECE_OCTETS` at most.

        Raises:
            InputRejected: the file cannot be read.
        """
        try:
            return read_whole_lines(self._path / name, offset, PIECE_OCTETS)
        except OSError as error:
            place = str(self._path / name)
            raise InputRejected(
                "a file of the spool cannot be read", place=place, value=error.strerror
            ) from error


class Collected(NamedTuple):
    """What was new."""

    files: int
    octets: int
    answers: int


def collect(spool: Spool, copies: Path, store: Store, clock: Clock, actor: str) -> Collected:
    """Append to the copies what is new in a spool, and record it.

    What was appended stays when something goes wrong later on, and is not fetched again. The record names the host, how
    much was new, and the digest of it; where nothing was new there is none.

    Args:
        spool: of one host.
        copies: the directory of its copies; its name is that of the host.
        store: the record.
        clock: tells the time of the record.
        actor: who collects.

    Raises:
        InputRejected: a file is shorter than its copy, or has a line that is none of a spool.
        FeedUnavailable: the host does not answer.
    """
    copies.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    files = octets = answers = 0
    try:
        for file in sorted(spool.files()):
            before = octets
            for lines, counted in _new_lines(spool, file, copies):
                _append(copies / file.name, lines)
                digest.update(lines)
                octets += len(lines)
                answers += counted
            files += octets > before
    finally:
        if octets:
            body = {"host": copies.name, "files": files, "octets": octets, "answers": answers}
            body["sha256"] = digest.hexdigest()
            with store.write() as connection:
                append_record(connection, clock, Event.USAGE_COLLECTED, actor=actor, body=body)
    return Collected(files, octets, answers)


def _new_lines(spool: Spool, file: SpoolFile, copies: Path) -> Iterable[tuple[bytes, int]]:
    """Yield what is new of a file, piece by piece, checked, with the answers in it."""
    copy = copies / file.name
    month = month_of_file(file.name)
    if month is None:
        raise InputRejected("this is no file of a spool", place=str(copies), value=file.name)
    have = copy.stat().st_size if copy.exists() else 0
    if file.octets < have:
        rule = f"files of a spool only grow; {have} octets were there before"
        raise InputRejected("a file of the spool has shrunk", place=str(copy), value=file.octets, rule=rule)
    while have < file.octets and (lines := spool.read(file.name, have)):
        usages = list(usages_in(lines, f"{copy}, octet {have}"))
        if not lines.endswith(b"\n") or any(month_of(usage.at) != month for usage in usages):
            rule = f"whole lines of {month}"
            raise InputRejected("this is no file of a spool", place=f"{copy}, octet {have}", rule=rule)
        have += len(lines)
        yield lines, sum(usage.answers for usage in usages)


def _append(copy: Path, lines: bytes) -> None:
    with copy.open("ab") as file:
        copy.chmod(0o600)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
