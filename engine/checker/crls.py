"""CRLs: numbers, signatures, files, and what they list (RFC 5280 section 5, CPS 4.4.10)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engine.algorithms import SignatureAlgorithm
from engine.checker.authority import Authority, verify_digest
from engine.checker.crl_content import Coverage, content_faults
from engine.checker.crl_files import CrlFile, ParsedCrl, parse, paths_of
from engine.checker.finding import UNREADABLE, Finding, judge_each
from engine.checker.record import Record

_PLACING_MICROSECONDS = 600_000_000
"""How long after its record a list's file may be missing: whoever is killed in between leaves it to the next publisher,
and a backup takes the files before the record. A guess; docs/checker.md."""

_ISSUES = (
    "SELECT id, scope_id, number, base_number, this_update, next_update, feed_sequence, entries, tbs_digest,"
    " signature, file_sha256, published_at FROM crl_issue ORDER BY id"
)

_SCOPES = "SELECT id, issuer_key_identifier, partition_id, uri, last_number FROM crl_scope ORDER BY id"

_COMPLETE_URIS = "SELECT DISTINCT issuer_key_identifier, complete_uri FROM crl_partition"


class Issue(NamedTuple):
    """A row of crl_issue; times in microseconds since the epoch."""

    id: int
    scope_id: int
    number: int
    base_number: int | None
    this_update: int
    next_update: int
    feed_sequence: int
    entries: int
    tbs_digest: bytes
    signature: bytes | None
    file_sha256: bytes | None
    published_at: int | None


class Scope(NamedTuple):
    """A row of crl_scope."""

    id: int
    key_identifier: bytes
    partition_id: int
    uri: str
    last_number: int


class Crls:
    """The CRLs of a home.

    Args:
        record: the snapshot.
        authority: whose CA signs them.
        algorithm: with what.
        directory: where the files are.
        files: those read before the snapshot.
        alone: whether no other home publishes; else a newer list may lie in that one's directory only.
    """

    def __init__(
        self,
        record: Record,
        authority: Authority,
        algorithm: SignatureAlgorithm,
        directory: Path,
        files: Mapping[Path, CrlFile],
        *,
        alone: bool = True,
    ) -> None:
        self._record = record
        self._authority = authority
        self._algorithm = algorithm
        self._directory = directory
        self._files = files
        self._alone = alone
        self._issues = [Issue(*row) for row in record.rows(_ISSUES)]
        self._scopes = [Scope(*row) for row in record.rows(_SCOPES)]
        self._complete_uris = list(record.rows(_COMPLETE_URIS))

    def check(self) -> Iterator[Finding]:
        """Check what is recorded: every signature, and the numbers of every scope."""
        yield from judge_each("crl-signature", "crl_issue", self._issues, self._signature_faults)
        for scope in self._scopes:
            rows = [(scope.uri, scope, self._of(scope))]
            yield from judge_each("crl-number", "crl_scope", rows, _number_faults)

    def check_files(self, rule: str) -> Iterator[Finding]:
        """Check the files; a scope without one is no finding while nothing was published of it."""
        known: set[Path] = set()
        for scope in self._scopes:
            try:
                places = self._places(scope)
            except UNREADABLE as error:
                yield Finding(rule, f"crl_scope {scope.id}", str(error))
                continue
            known |= places.keys()
            published = [issue for issue in self._of(scope) if issue.published_at is not None]
            rows = ((path, scope, delta, published) for path, delta in places.items())
            yield from judge_each(rule, "file", rows, self._place_faults)
        for path in sorted(self._files.keys() - known):
            yield Finding(rule, f"file {path}", "no CRL scope is published here")

    def _of(self, scope: Scope) -> list[Issue]:
        return [issue for issue in self._issues if issue.scope_id == scope.id]

    def _signature_faults(self, *values: Any) -> Iterable[str]:
        issue = Issue(*values)
        if (issue.signature is None) != (issue.published_at is None):
            yield "published without a signature, or signed and not published"
        if issue.signature is not None:
            verify_digest(self._authority.ca, issue.signature, issue.tbs_digest, self._algorithm)

    def _places(self, scope: Scope) -> dict[Path, bool]:
        """Where a scope's files may be, and whether that is a delta's place."""
        uris = [scope.uri]
        if not scope.partition_id:
            uris += [uri for identifier, uri in self._complete_uris if identifier == scope.key_identifier]
        places: dict[Path, bool] = {}
        for uri in uris:
            full, delta = paths_of(self._directory, uri)
            places |= {full: False, delta: True}
        return places

    def _place_faults(
        self, path: Path, scope: Scope, is_delta: bool, published: list[Issue]
    ) -> Iterable[str]:
        issues = [issue for issue in published if (issue.base_number is not None) is is_delta]
        file = self._files.get(path)
        if file is not None:
            return self._file_faults(scope, file, issues)
        # A delta that nobody renews is removed before it lapses.
        return [] if is_delta else self._missing(path, issues)

    def _missing(self, path: Path, issues: list[Issue]) -> Iterable[str]:
        if issues and self._is_due(issues[-1]) and not self._is_left_over(path, issues[-1]):
            yield f"is missing; number {issues[-1].number} was published"

    def _is_due(self, issue: Issue) -> bool:
        newest = self._record.row("SELECT recorded_at FROM audit_head")
        return (
            self._alone
            and newest is not None
            and issue.published_at is not None
            and newest[0] - issue.published_at > _PLACING_MICROSECONDS
        )

    def _is_left_over(self, path: Path, issue: Issue) -> bool:
        """Whether a killed publisher left the file for the next one to rename."""
        left = path.parent.glob(f".{path.name}.*.partial")
        return any(hashlib.sha256(one.read_bytes()).digest() == issue.file_sha256 for one in left)

    def _file_faults(self, scope: Scope, file: CrlFile, issues: list[Issue]) -> Iterable[str]:
        parsed = parse(file.octets)
        # A record of an older program has no digest of the file.
        known = [
            issue
            for issue in issues
            if issue.file_sha256 == file.sha256
            or (issue.file_sha256 is None and issue.number == parsed.number)
        ]
        if not known:
            yield f"number {parsed.number} is not what the record has as published"
            return
        if not parsed.crl.is_signature_valid(self._authority.ca.public_key()):  # type: ignore[arg-type]  # RSA or EC
            yield "the CA did not sign this"
        yield from _difference(parsed, known[-1], None if scope.partition_id == 0 else scope.uri)
        if (
            known[-1] != issues[-1]
            and self._is_due(issues[-1])
            and not self._is_left_over(file.path, issues[-1])
        ):
            yield f"number {parsed.number}; number {issues[-1].number} was published since"
        coverage = Coverage(
            scope.key_identifier, scope.partition_id, known[-1].feed_sequence, self._base(known[-1])
        )
        yield from content_faults(self._record, parsed, coverage)

    def _base(self, issue: Issue) -> int | None:
        """The change feed's sequence number of a delta's base; None of a full CRL."""
        if issue.base_number is None:
            return None
        for one in self._issues:
            same = one.scope_id == issue.scope_id and one.number == issue.base_number
            if same and one.base_number is None and one.published_at is not None:
                return one.feed_sequence
        raise ValueError(f"number {issue.base_number}, its base, was never published")


def _difference(parsed: ParsedCrl, issue: Issue, distribution_point: str | None) -> Iterable[str]:
    told = (
        parsed.number,
        parsed.base_number,
        parsed.this_update * 1_000_000,
        parsed.next_update * 1_000_000,
        len(parsed.entries),
        parsed.distribution_point,
        parsed.crl.signature,
    )
    recorded = (
        issue.number,
        issue.base_number,
        issue.this_update,
        issue.next_update,
        issue.entries,
        distribution_point,
        issue.signature,
    )
    names = (
        "cRLNumber",
        "BaseCRLNumber",
        "thisUpdate",
        "nextUpdate",
        "entries",
        "distribution point",
        "signature",
    )
    for name, here, there in zip(names, told, recorded, strict=True):
        if here != there:
            yield f"{name} is not the recorded one"


def _number_faults(_uri: str, scope: Scope, issues: list[Issue]) -> Iterable[str]:
    """Numbers only grow; a full CRL and the delta issued with it share one (RFC 5280 section 5.2.3)."""
    last, kinds = 0, set[bool]()
    for issue in issues:
        is_delta = issue.base_number is not None
        if issue.number < last or (issue.number == last and is_delta in kinds):
            yield f"number {issue.number} of issue {issue.id} follows {last}"
        if issue.number != last:
            kinds = set()
        last = issue.number
        kinds.add(is_delta)
        if issue.base_number is not None and issue.base_number > issue.number:
            yield f"the base of number {issue.number} is younger than it"
        if issue.next_update <= issue.this_update:
            yield f"number {issue.number} ends before it begins"
    if issues and last != scope.last_number:
        yield f"the last number is {last}, recorded as {scope.last_number}"
