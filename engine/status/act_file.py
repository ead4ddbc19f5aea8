"""Files of acts: CSV or JSON lines, one act a row; a bad row is named and takes no other with it.

Columns (CSV) or names (JSON): exactly one of `serial`, `card`, `identifier` (a 統一編號) in each row; if wanted,
`ground`, `document`, `origin`, `on_behalf_of`, `reason`, `invalidity_date`, which go before what the command says for
all rows. An empty field is one that is not there.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from engine.clock import TAIPEI
from engine.errors import InputRejected, SealmintError, StatusConflict
from engine.register.csv_records import header_of, read_csv
from engine.register.json_lines import read_json_lines
from engine.register.records import MAX_ROW_BYTES, Record
from engine.register.row import RowRejected
from engine.status.act_request import ActRequest
from engine.status.acts import ActResult, StatusActs
from engine.status.crl_reasons import reason_named
from engine.status.origins import Origin, Scope, Verb

ACTS_AT_ONCE = 500
"""Acts in one transaction: its commit is shared by many, and others wait for it some 0.1 s (bench.acts)."""

SUBJECTS = {"serial": Scope.CERTIFICATE, "card": Scope.CARD, "identifier": Scope.ENTITY}
"""Columns that name a subject, of which a row fills exactly one."""

DETAILS = ("ground", "document", "origin", "on_behalf_of", "reason", "invalidity_date")
"""Columns that may be there besides."""

COLUMNS = (*SUBJECTS, *DETAILS)


class RowFailure(NamedTuple):
    """A row whose act did not take effect."""

    row: int
    """Line (JSON lines) or data record (CSV), from 1."""
    subject: str | None
    field: str | None
    message: str
    value: str | None
    rule: str | None


@dataclass(slots=True)
class FileReport:
    """What became of a file."""

    performed: list[ActResult] = field(default_factory=list)
    failures: list[RowFailure] = field(default_factory=list)


class FileRow(NamedTuple):
    """A row as an act that is asked for."""

    number: int
    request: ActRequest


def perform_file(acts: StatusActs, path: Path, verb: Verb, common: Mapping[str, str | None]) -> FileReport:
    """Do every act of a file, some hundreds in a transaction, in the file's order.

    Broken off, by an error or a signal, the transactions before stay done: handing the file in again does the rest,
    and names the rows that were done as refused.

    Args:
        acts: does them.
        path: the file, UTF-8.
        verb: what is done to every row's subject.
        common: what the command says for all rows, by the names of `DETAILS`.

    Raises:
        InputRejected: the file cannot be read, is empty, or its header names a column that is none. Nothing was done.
        StoreError, AuditFailed, ClockWrong: the transactions before stay done.
    """
    report = FileReport()
    rows = _good(read_acts(path, verb, common), report)
    while part := list(islice(rows, ACTS_AT_ONCE)):
        outcomes = acts.perform_together([row.request for row in part])
        for row, outcome in zip(part, outcomes, strict=True):
            if isinstance(outcome, ActResult):
                report.performed.append(outcome)
            else:
                report.failures.append(_failure(row.number, row.request.subject, outcome))
    report.failures.sort(key=lambda failure: failure.row)  # unreadable rows were found ahead of their chunk
    return report


def _good(rows: Iterable[FileRow | RowFailure], report: FileReport) -> Iterator[FileRow]:
    for row in rows:
        if isinstance(row, RowFailure):
            report.failures.append(row)
        else:
            yield row


def read_acts(path: Path, verb: Verb, common: Mapping[str, str | None]) -> Iterator[FileRow | RowFailure]:
    """Read a file of acts; arguments and errors as in `perform_file`."""
    try:
        with path.open("rb") as file:
            if file.read(len(BOM_UTF8)) != BOM_UTF8:
                file.seek(0)
            for record in _records(file, str(path)):
                yield _row(record, verb, common)
    except OSError as error:
        raise InputRejected(
            f"the file of acts cannot be read: {error.strerror or error}", place=str(path)
        ) from error


def _records(file: BinaryIO, place: str) -> Iterator[Record | RowRejected]:
    start = file.tell()
    first = file.readline(MAX_ROW_BYTES)
    file.seek(start)
    if first.lstrip().startswith(b"{"):
        return read_json_lines(file)
    header = header_of(first)
    unknown = [name for name in header if name not in COLUMNS]
    if not header or unknown or len(set(header)) < len(header):
        # Where it has none of our columns it is another file altogether, perhaps one with a secret.
        is_ours = len(unknown) < len(header)
        raise InputRejected(
            "not a file of acts",
            place=place,
            value=", ".join(unknown or header) if is_ours else None,
            rule=f"JSON lines, or CSV whose first line names columns, each once, of: {', '.join(COLUMNS)}",
        )
    return read_csv(file)


def _row(record: Record | RowRejected, verb: Verb, common: Mapping[str, str | None]) -> FileRow | RowFailure:
    if isinstance(record, RowRejected):
        return RowFailure(record.row_number, None, record.field, record.detail, None, record.reason.value)
    number, values = record
    try:
        fields = {name: text for name, value in values.items() if (text := _text(name, value))}
        subjects = [name for name in SUBJECTS if name in fields]
        if len(subjects) != 1:
            raise InputRejected(
                "a row names one subject",
                place="subject",
                value=", ".join(subjects) or None,
                rule=f"exactly one of {', '.join(SUBJECTS)}",
            )
        scope = SUBJECTS[subjects[0]]
        return FileRow(number, request_of(verb, scope, fields[subjects[0]], {**common, **fields}))
    except InputRejected as error:
        return _failure(number, _named(values), error)


def _text(name: str, value: object) -> str:
    if name not in COLUMNS:
        raise InputRejected("no such field", place=name, rule=f"one of {', '.join(COLUMNS)}")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputRejected("not a text", place=name, value=value, rule="every field is a text")
    return value.strip()


def _named(values: Mapping[str, object]) -> str | None:
    return next((text for name in SUBJECTS if isinstance(text := values.get(name), str) and text), None)


def request_of(verb: Verb, scope: Scope, subject: str, details: Mapping[str, str | None]) -> ActRequest:
    """Make a request of texts, as a command or a file gives them.

    Args:
        verb: what is done.
        scope: what the subject names.
        subject: serial, card number or 統一編號.
        details: texts by the names of `DETAILS`; other names are passed over.

    Raises:
        InputRejected: a text is no origin, reason or date; the place is its name.
    """
    origin, reason = details.get("origin"), details.get("reason")
    invalidity_date = details.get("invalidity_date")
    return ActRequest(
        verb,
        scope,
        subject,
        details.get("ground") or "",
        _origin(origin) if origin else None,
        details.get("on_behalf_of") or "",
        details.get("document"),
        reason_named(reason) if reason else None,
        _moment(invalidity_date) if invalidity_date else None,
    )


def _origin(name: str) -> Origin:
    try:
        return Origin(name)
    except ValueError as error:
        rule = "choice 10: one of " + ", ".join(origin.value for origin in Origin)
        raise InputRejected("no origin", place="origin", value=name, rule=rule) from error


def _moment(text: str) -> datetime:
    """Read a date or a time; Taipei time where no offset is given."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputRejected(
            "no date",
            place="invalidity_date",
            value=text,
            rule="ISO 8601: 2026-03-02, or 2026-03-02T09:00:00+08:00; Taipei time without an offset",
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=TAIPEI)


def _failure(number: int, subject: str | None, error: SealmintError) -> RowFailure:
    value = None if error.value is None else str(error.value)
    place = "subject" if isinstance(error, StatusConflict) else error.place
    return RowFailure(number, subject, place, error.message, value, error.rule)
