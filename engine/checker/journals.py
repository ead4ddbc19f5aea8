"""The journals of signatures made on demand, held against the audit records over them (CPS 4.5.6)."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine.checker.finding import Finding, judge_each
from engine.checker.record import Record

_JOURNALS = {"ocsp.live-signed": "live-ocsp", "feed.signed": "feed", "token.key-tested": "key-test"}
"""The event of the audit records, and the directory under a home's audit directory; one digest a line."""


class Journals:
    """All journals of homes that share a record, read after its snapshot: they only grow.

    Args:
        homes: the homes.

    Attributes:
        digests: everything that was journalled, recorded or not yet.
        malformed: lines that are no digest, as file and line.
    """

    def __init__(self, homes: Sequence[Path]) -> None:
        self._files: dict[tuple[str, str], bytes] = {}
        self.digests: set[bytes] = set()
        self.malformed: list[str] = []
        for directory in _JOURNALS.values():
            for home in homes:
                for path in (home / "audit" / directory).glob("*.digests"):
                    octets = self._files[directory, path.name] = path.read_bytes()
                    self._take(f"{directory}/{path.name}", octets.split(b"\n")[:-1])

    def _take(self, name: str, lines: Sequence[bytes]) -> None:
        for number, line in enumerate(lines, 1):
            try:
                self.digests.add(bytes.fromhex(line.decode("ascii")))
            except ValueError:
                self.malformed.append(f"{name}:{number}")

    def check(self, record: Record) -> Iterator[Finding]:
        """Hold every audit record against its part of a journal; parts follow each other without a gap."""
        ends: defaultdict[tuple[str, str], int] = defaultdict(int)

        def faults(_sequence: int, event: str, body: str) -> Iterable[str]:
            part = json.loads(body)
            name = (_JOURNALS[event], part["file"])
            if name not in self._files:
                yield f"the journal {'/'.join(name)} is missing"
                return
            offset, octets = part["offset"], self._files[name][part["offset"] :][: part["octets"]]
            if offset != ends[name]:
                yield f"begins at {offset} of {'/'.join(name)}, the one before ended at {ends[name]}"
            if hashlib.sha256(octets).hexdigest() != part["sha256"] or octets.count(b"\n") != part["count"]:
                yield f"the journal {'/'.join(name)} has something else there"
            ends[name] = offset + part["octets"]

        events = ", ".join(f"'{event}'" for event in _JOURNALS)
        statement = (
            f"SELECT sequence, event, body FROM audit_record WHERE event IN ({events}) ORDER BY sequence"  # noqa: S608  # the names above
        )
        yield from judge_each("journal", "audit_record", record.rows(statement), faults)
        for place in self.malformed:
            yield Finding("journal", place, "no digest")
