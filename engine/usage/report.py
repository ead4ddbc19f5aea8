"""The monthly usage report: what each relying party is to pay for (CPS 4.4.12)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine.clock import TAIPEI
from engine.errors import InputRejected
from engine.store.relying_party_accounts import RelyingPartyAccount
from engine.usage.spool import day_of, read_whole_lines, spool_files, usages_in

COLUMNS = ("account", "month", "answers", "refused_over_quota", "first_day", "last_day")

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(slots=True)
class ReportRow:
    """What one account asked in a month. Days are those of Taipei; empty where nothing was asked."""

    account: str
    month: str
    answers: int = 0
    refused: int = 0
    first_day: str = ""
    last_day: str = ""


def check_month(month: str) -> str:
    """Return a month as it is.

    Raises:
        InputRejected: it is none.
    """
    if _MONTH.fullmatch(month) is None:
        raise InputRejected("this is no month", place="--month", value=month, rule="YYYY-MM")
    return month


def monthly_report(
    collected: Path, month: str, accounts: Sequence[RelyingPartyAccount]
) -> tuple[list[ReportRow], list[str]]:
    """Sum up what was collected of a month.

    Args:
        collected: a directory for each host, with copies of its spool.
        month: in Taipei, `YYYY-MM`.
        accounts: all that are on record; those open in the month have a row even if they asked nothing.

    Returns:
        A row for each account, by name; and the hosts that have counts of this month.

    Raises:
        InputRejected: a file has a line that is none of a spool.
    """
    rows = {one.name: ReportRow(one.name, month) for one in accounts if _was_open(one, month)}
    hosts = []
    for host in sorted(path for path in collected.glob("*") if path.is_dir()):
        files = spool_files(host, month)
        if files:
            hosts.append(host.name)
        for path in files:
            _add(path, month, rows)
    return [rows[name] for name in sorted(rows)], hosts


def csv_of(rows: Sequence[ReportRow]) -> str:
    """Return the report as CSV (RFC 4180), with a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow((row.account, row.month, row.answers, row.refused, row.first_day, row.last_day))
    return text.getvalue()


def _add(path: Path, month: str, rows: dict[str, ReportRow]) -> None:
    for usage in usages_in(read_whole_lines(path, 0), str(path)):
        row = rows.setdefault(usage.account, ReportRow(usage.account, month))
        day = day_of(usage.at)
        row.answers += usage.answers
        row.refused += usage.refused
        row.first_day = min(row.first_day or day, day)
        row.last_day = max(row.last_day, day)


def _was_open(account: RelyingPartyAccount, month: str) -> bool:
    opened = _month_in_taipei(account.opened_at)
    closed = None if account.closed_at is None else _month_in_taipei(account.closed_at)
    return opened <= month and (closed is None or month <= closed)


def _month_in_taipei(moment: datetime) -> str:
    return moment.astimezone(TAIPEI).strftime("%Y-%m")
