"""What the spool of a host comes to in a month, read on from where the last look ended.

A process that starts does not read a whole month of lines: now and then one of them writes down what the files came to
up to which octets. Files only grow, so such sums stay true whoever made them; without them, or with damaged ones, the
files are read from their beginning.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import InputRejected
from engine.usage.spool import month_of_file, read_whole_lines, spool_files, usages_in

REMEMBERED_OCTETS = 1 << 20
"""Read since the sums were last written down, after which they are again. A guess: some 10 ms of reading."""

_Count = Annotated[int, Field(ge=0)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    octets: dict[str, _Count]
    answers: dict[str, _Count]


class SpoolSums:
    """Answers by account in one month, over all files of a spool.

    Args:
        directory: the spool.
        month: in Taipei, such as `2026-09`.

    Attributes:
        answers: by account.
        damaged: files with a line that is none of ours, and why; from that line on they do not count.
    """

    def __init__(self, directory: Path, month: str) -> None:
        self._directory = directory
        self.month = month
        self._remembered = directory / f"{month}.sums.json"
        self._octets: dict[str, int] = {}
        self._read_since = 0
        self.answers: Counter[str] = Counter()
        self.damaged: dict[str, str] = {}
        self._recall()

    def read_on(self) -> None:
        """Read what was written since the last time.

        Raises:
            OSError: a file cannot be read.
        """
        for path in spool_files(self._directory, self.month):
            offset = self._octets.get(path.name, 0)
            if path.name in self.damaged or path.stat().st_size <= offset:
                continue
            lines = read_whole_lines(path, offset)
            try:
                for usage in usages_in(lines, path.name):
                    self.answers[usage.account] += usage.answers
            except InputRejected as error:
                self.damaged[path.name] = str(error)
            self._octets[path.name] = offset + len(lines)
            self._read_since += len(lines)
        if self._read_since >= REMEMBERED_OCTETS and not self.damaged:
            self.write_down()

    def write_down(self) -> None:
        """Write down what the files come to so far.

        Raises:
            OSError: it cannot be written.
        """
        written = _Written(octets=self._octets, answers=dict(self.answers))
        partial = self._remembered.with_suffix(f".{os.getpid()}.partial")  # others may be at the same
        partial.write_text(written.model_dump_json(), "utf-8")
        partial.rename(self._remembered)
        self._read_since = 0

    def _recall(self) -> None:
        try:
            written = _Written.model_validate_json(self._remembered.read_bytes())
        except (OSError, ValidationError):
            return
        # A file that was taken away is no reason to forget what was asked; one that is there must reach so far.
        for name, octets in written.octets.items():
            path = self._directory / name
            if month_of_file(name) != self.month or (path.exists() and path.stat().st_size < octets):
                return
        self._octets = dict(written.octets)
        self.answers = Counter(written.answers)
