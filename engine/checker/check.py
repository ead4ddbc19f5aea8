"""All checks of a home."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from engine.checker.audit import check_audit, check_checkpoints
from engine.checker.authority import Authority
from engine.checker.certificates import check_certificates
from engine.checker.changes import check_changes
from engine.checker.counts import check_counts
from engine.checker.crl_files import CrlFile, read_files
from engine.checker.crls import Crls
from engine.checker.finding import UNREADABLE, Finding
from engine.checker.journals import Journals
from engine.checker.ocsp_answers import OcspAnswers
from engine.checker.record import Record, snapshot
from engine.checker.served import OcspQuestions, served_files
from engine.checker.settings import Settings, read_settings
from engine.checker.signatures import check_signatures, logged_digests
from engine.checker.standings import check_standings
from engine.errors import CheckFailed

MOST_FINDINGS = 1_000
"""A report says no more: whoever has a thousand needs the backup, not the rest. A guess."""

_COUNTED = ("reservation", "signature", "crl_issue", "ocsp_answer", "status_change", "audit_record")


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, what was counted, and how long it took in seconds."""

    findings: list[Finding]
    counted: dict[str, int]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def document(self) -> dict[str, object]:
        """Return the report as a JSON document."""
        findings = [asdict(finding) for finding in self.findings]
        return {"ok": self.ok, "findings": findings, "counted": self.counted, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class Asked:
    """What running hosts are asked.

    Attributes:
        ocsp: the URL of an OCSP responder; None: none is asked.
        http: the URL of a host that serves CRLs; None: none are fetched.
        sample: about how many good certificates the responder is asked; None: about all.
    """

    ocsp: str | None = None
    http: str | None = None
    sample: int | None = None


def check_home(
    home: Path,
    *,
    signature_log: Path | None = None,
    other_homes: Sequence[Path] = (),
    asked: Asked = Asked(),  # frozen
) -> Report:
    """Judge a home by one snapshot of its record, also while its processes run; nothing is changed.

    Args:
        home: the home.
        signature_log: the pretend HSM's log, read before the snapshot: what is signed was announced before.
        other_homes: those that share the record; their journals count as well, and so do their CRL files.
        asked: what running hosts are asked, after the snapshot.

    Raises:
        CheckFailed: the home, its record or the log cannot be read, or a host does not answer.
    """
    started = time.monotonic()
    try:
        settings = read_settings(home)
        authority = Authority(home)
        logged = [] if signature_log is None else logged_digests(signature_log)
        directories = [read_settings(one).crl for one in (home, *other_homes)]
        files = {directory: read_files(directory) for directory in directories}
        with snapshot(settings.record) as record:
            sources = _Sources(record, settings, authority, files, Journals([home, *other_homes]), logged)
            findings = list(islice(sources.check(), MOST_FINDINGS))
            counted = {"signatures_logged": len(logged)} | {
                table: _count(record, table) for table in _COUNTED
            }
        findings += islice(_check_served(settings, authority, asked), MOST_FINDINGS - len(findings))
    except (OSError, SQLAlchemyError, ValueError, IndexError) as error:
        raise CheckFailed(
            "the home cannot be judged", place=str(home), value=str(error), rule="a home with its record"
        ) from error
    return Report(findings, counted, time.monotonic() - started)


def _check_served(settings: Settings, authority: Authority, asked: Asked) -> Iterator[Finding]:
    if asked.http is not None:
        with snapshot(settings.record) as record:
            files = served_files(record, asked.http, settings.crl)
        with snapshot(settings.record) as record:
            crls = Crls(record, authority, settings.algorithm, settings.crl, files)
            yield from crls.check_files("crl-served")
    if asked.ocsp is not None:
        questions = OcspQuestions(asked.ocsp, settings.record, authority, settings.algorithm)
        yield from questions.check(asked.sample)


def _count(record: Record, table: str) -> int:
    row = record.row(f"SELECT count(*) FROM {table}")  # noqa: S608  # one of the names above
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class _Sources:
    """All that is judged together."""

    record: Record
    settings: Settings
    authority: Authority
    files: Mapping[Path, Mapping[Path, CrlFile]]
    journals: Journals
    logged: list[bytes]

    def check(self) -> Iterator[Finding]:
        """Yield what every rule finds; one that meets what it cannot read does not keep the others from it."""
        rules: tuple[Callable[[], Iterator[Finding]], ...] = (
            lambda: self.authority.read(self.record),
            lambda: check_counts(self.record),
            lambda: check_certificates(self.record, self.authority),
            lambda: check_standings(self.record),
            self._check_crls,
            lambda: OcspAnswers(self.record, self.authority, self.settings.algorithm).check(),
            lambda: check_changes(self.record),
            lambda: check_audit(self.record),
            lambda: check_checkpoints(self.record, self.authority),
            lambda: self.journals.check(self.record),
            lambda: check_signatures(self.record, self.journals, self.logged),
        )
        for rule in rules:
            try:
                yield from rule()
            except UNREADABLE as error:
                yield Finding("unreadable", "record", f"{type(error).__name__}: {error}")

    def _check_crls(self) -> Iterator[Finding]:
        alone, algorithm = len(self.files) == 1, self.settings.algorithm
        for directory, files in self.files.items():
            crls = Crls(self.record, self.authority, algorithm, directory, files, alone=alone)
            if directory == self.settings.crl:
                yield from crls.check()
            yield from crls.check_files("crl-file")
