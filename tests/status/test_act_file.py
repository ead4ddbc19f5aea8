"""Files of acts: every failure named by row, field and rule; good rows are not lost with it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from engine.clock import SetClock
from engine.errors import InputRejected
from engine.status.act_file import (
    ACTS_AT_ONCE,
    COLUMNS,
    FileReport,
    FileRow,
    RowFailure,
    perform_file,
    read_acts,
)
from engine.status.acts import StatusActs
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Scope, Verb
from engine.store.database import Store
from engine.store.schema import crl_entry
from tests.status.issued import COMPANY, Issued
from tests.store.plans import NOW, count, issue_run, plan

V = Verb.REVOKE
GROUND = {"ground": "not-needed"}


def written(directory: Path, content: str | bytes) -> Path:
    path = directory / "acts"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv(*rows: list[str]) -> str:
    return "".join(",".join(row) + "\r\n" for row in rows)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def summary(report: FileReport) -> list[tuple[int, str | None]]:
    return [(failure.row, failure.field) for failure in report.failures]


def test_good_rows_are_not_lost_with_bad_ones(issued: Issued, tmp_path: Path) -> None:
    first, second = issued.serials("P")
    path = written(
        tmp_path,
        csv(
            ["serial", "card", "identifier", "ground", "document", "reason", "invalidity_date"],
            [first, "", "", "", "", "", ""],
            ["12", "", "", "", "", "", ""],
            ["", "none", "", "", "", "", ""],
            [second, "S", "", "", "", "", ""],
            ["", "", COMPANY, "entity-ended", "", "", ""],
            ["", "S", "", "because", "", "", ""],
            ["", "S", "", "", "", "certificateHold", ""],
            ["", "S", "", "", "", "", "yesterday"],
            [first, "", "", "", "", "", ""],
            ["", "S"],
            ["", "S", "", "key-compromise", "第1號", "superseded", "2026-03-01"],
            ["", "", COMPANY, "entity-ended", "第2號", "", ""],
        ),
    )
    report = perform_file(issued.acts, path, V, GROUND)
    assert summary(report) == [
        (2, "subject"),
        (3, "subject"),
        (4, "subject"),
        (5, "document"),
        (6, "ground"),
        (7, "reason"),
        (8, "invalidity_date"),
        (9, "subject"),
        (10, None),
    ]
    assert all(failure.message and failure.rule for failure in report.failures)
    assert [len(done.certificates) for done in report.performed] == [1, 2, 3]
    assert [issued.states(card) for card in "PSB"] == [["REVOKED", "REVOKED"]] * 3
    signature, encryption = issued.status("P")
    assert (signature.reason, encryption.reason) == (
        CrlReason.cessationOfOperation,
        CrlReason.cessationOfOperation,
    )
    assert {status.reason for status in issued.status("S")} == {CrlReason.superseded}
    assert report.performed[1].act.document == "第1號"


def test_json_lines_say_the_same(issued: Issued, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        lines(
            {"card": "P"},
            {"card": "S", "ground": "own-judgement", "origin": "counter"},
            {"card": 7},
            {"card": "B", "verb": "revoke"},
            {"card": "B", "origin": "nobody"},
            ["B"],
            {"identifier": COMPANY, "ground": "judicial-notice", "on_behalf_of": "法院", "document": "1"},
            {"card": "U", "document": None},
        )
        + "{broken\n",
    )
    report = perform_file(issued.acts, path, Verb.SUSPEND, {"ground": "token-lost"})
    assert summary(report) == [(3, "card"), (4, "verb"), (5, "origin"), (6, None), (9, None)]
    origins = [done.act.origin.value for done in report.performed]
    assert origins == ["subscriber", "counter", "judicial", "subscriber"]


def test_the_row_goes_before_the_command(tmp_path: Path) -> None:
    path = written(tmp_path, csv(["card", "document"], ["P", "its own"], ["S", ""]))
    rows = list(read_acts(path, V, {"ground": "not-needed", "document": "for all", "origin": None}))
    assert [row.request.document for row in rows if isinstance(row, FileRow)] == ["its own", "for all"]


def test_a_date_without_an_offset_is_taipei_time(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        csv(["card", "invalidity_date"], ["P", "2026-03-01"], ["P", "2026-02-28T16:00:00+00:00"]),
    )
    moments = {
        row.request.invalidity_at
        for row in read_acts(path, V, GROUND)
        if isinstance(row, FileRow) and row.request.scope is Scope.CARD
    }
    assert len(moments) == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "serial,verb\nAB,revoke\n",
        "serial,serial\nAB,AB\n",
        "0123456789ABCDEF0123456789ABCDEF\n",
        b"\xff\xfes\x00e\x00",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_file_of_acts_is_refused_as_a_whole(
    issued: Issued, tmp_path: Path, content: str | bytes
) -> None:
    with pytest.raises(InputRejected, match="not a file of acts"):
        perform_file(issued.acts, written(tmp_path, content), V, GROUND)
    assert issued.acts_stored == 0


def test_a_file_that_is_not_there(issued: Issued, tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="cannot be read: No such file"):
        perform_file(issued.acts, tmp_path / "none", V, GROUND)
    with pytest.raises(InputRejected, match="cannot be read: Is a directory"):
        perform_file(issued.acts, tmp_path, V, GROUND)


def test_a_byte_order_mark_is_no_part_of_the_first_column(issued: Issued, tmp_path: Path) -> None:
    path = written(tmp_path, csv(["card"], ["P"]).encode("utf-8-sig"))
    assert len(perform_file(issued.acts, path, V, GROUND).performed) == 1


def test_a_file_of_thousands_goes_in_few_transactions(store: Store, tmp_path: Path) -> None:
    cards = ACTS_AT_ONCE + 100
    issue_run(store, plan(store, cards, unit_size=200))
    numbers = [f"MG{1000 + n:014d}" for n in range(cards)]
    rows = [[number] for number in [*numbers[:300], "none", *numbers[300:]]]
    path = written(tmp_path, csv(["card"], *rows))
    acts = StatusActs(store, SetClock(NOW + timedelta(hours=1)), "tester")
    begun: list[object] = []
    event.listen(store.engine, "begin", begun.append)
    report = perform_file(acts, path, V, GROUND)
    assert len(begun) == 2
    assert summary(report) == [(301, "subject")]
    assert len(report.performed) == cards
    assert count(store, crl_entry) == 2 * cards
    again = perform_file(acts, path, V, GROUND)
    assert (len(again.performed), len(again.failures)) == (0, cards + 1)


texts = st.text(st.characters(exclude_characters="\r\n"), max_size=40)


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.dictionaries(st.one_of(st.sampled_from(COLUMNS), texts), st.one_of(texts, st.none()))))
def test_every_row_has_one_outcome(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-rows"
    path.write_text(lines({"card": "P"}, *rows), encoding="utf-8")
    found = list(read_acts(path, V, GROUND))
    numbers = [row.row if isinstance(row, RowFailure) else row.number for row in found]
    assert numbers == list(range(1, len(rows) + 2))


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_any_bytes_behind_a_header_are_read(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(b"card,document\n" + tail)
    for row in read_acts(path, V, GROUND):
        assert isinstance(row, FileRow | RowFailure)
