"""The monthly report, to the letter."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import TAIPEI
from engine.errors import InputRejected
from engine.store.relying_party_accounts import RelyingPartyAccount
from engine.usage.report import check_month, csv_of, monthly_report
from engine.usage.spool import day_of, month_of, seconds_to_midnight
from tests.usage.spools import A, B, append, line


def account(name: str, opened: str, closed: str | None = None) -> RelyingPartyAccount:
    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=TAIPEI)

    return RelyingPartyAccount(
        name, bytes(32), (), None, moment(opened), None if closed is None else moment(closed)
    )


@pytest.mark.cps("4.4.12")
@pytest.mark.cps("2.5.2")
def test_the_report_of_a_month_over_hosts_and_processes(tmp_path: Path) -> None:
    one, other = tmp_path / "public-1", tmp_path / "public-2"
    append(
        one,
        f"2026-09.{A}.jsonl",
        line("2026-09-01 00:00", "第一銀行", 10),
        line("2026-09-03 12:00", "第一銀行", 5, 2),
        line("2026-09-03 12:00", "post, central", 1),
    )
    append(one, f"2026-09.{B}.jsonl", line("2026-09-02 12:00", "post, central", 3))
    append(one, f"2026-10.{A}.jsonl", line("2026-10-01 00:00", "第一銀行", 1_000))
    append(other, f"2026-09.{A}.jsonl", line("2026-09-30 23:59", "第一銀行", 7), b'{"at":')
    append(other, "notes.txt", b"nothing of ours")
    (tmp_path / "empty").mkdir()
    accounts = [
        account("第一銀行", "2026-01-01"),
        account("post, central", "2026-09-02", "2026-09-30"),
        account("asked nothing", "2026-09-30 23:59"),
        account("opened later", "2026-10-01"),
        account("closed before", "2026-01-01", "2026-08-31 23:59"),
    ]
    rows, hosts = monthly_report(tmp_path, "2026-09", accounts)
    assert hosts == ["public-1", "public-2"]
    assert csv_of(rows) == (
        "account,month,answers,refused_over_quota,first_day,last_day\r\n"
        "asked nothing,2026-09,0,0,,\r\n"
        '"post, central",2026-09,4,0,2026-09-02,2026-09-03\r\n'
        "第一銀行,2026-09,22,2,2026-09-01,2026-09-30\r\n"
    )


def test_what_no_account_on_record_explains_is_in_the_report_all_the_same(tmp_path: Path) -> None:
    append(tmp_path / "public-1", f"2026-09.{A}.jsonl", line("2026-09-01 08:00", "of another home", 1))
    rows, _ = monthly_report(tmp_path, "2026-09", [])
    assert [(row.account, row.answers) for row in rows] == [("of another home", 1)]


def test_a_damaged_copy_makes_no_report(tmp_path: Path) -> None:
    append(tmp_path / "public-1", f"2026-09.{A}.jsonl", line("2026-09-01 08:00", "bank", 1), b"\x00\n")
    with pytest.raises(InputRejected, match="public-1"):
        monthly_report(tmp_path, "2026-09", [])


def test_before_anything_was_collected_there_is_an_empty_report(tmp_path: Path) -> None:
    assert monthly_report(tmp_path / "nowhere", "2026-09", []) == ([], [])


@pytest.mark.parametrize("month", ["2026-13", "2026-9", "2026", "26-09", "2026-09-01", "../2026-09", ""])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(InputRejected, match="no month"):
        check_month(month)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 4_102_444_800), st.integers(0, 999_999))
def test_days_and_months_are_those_of_taipei(second: int, fraction: int) -> None:
    moment = datetime.fromtimestamp(second, TAIPEI)
    assert day_of(second) == moment.date().isoformat()
    assert day_of(second).startswith(month_of(second))
    left = seconds_to_midnight(second + fraction / 1e6)
    assert 0 < left <= 86_400
    begins = moment.replace(hour=0, minute=0, second=0)
    assert left == pytest.approx(86_400 - (moment - begins).total_seconds() - fraction / 1e6, abs=1e-3)
