"""Extracts as a whole: every form gives the same rows, and no good row is lost to a bad one."""

from __future__ import annotations

import csv
import io
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import InputRejected
from engine.register.readers import read_register
from engine.register.records import MAX_ROW_BYTES
from engine.register.row import RegisterRow, RejectReason, RowRejected
from tests.register.extracts import NUMBERS, bad, branch, business, company, good, read, scripted

in_one_folder = settings(scripted, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Every example writes its file anew, so that one folder may serve all."""

names = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="&\ufffd"), min_size=1
)
companies = st.builds(
    lambda number, name, capital: company(
        Business_Accounting_NO=number, Company_Name=name, Paid_In_Capital_Amount=capital
    ),
    st.sampled_from(NUMBERS),
    names,
    st.integers(1, 10**12),
)
businesses = st.builds(
    lambda number, name: business(President_No=number, Business_Name=name), st.sampled_from(NUMBERS), names
)


def json_lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(fields, ensure_ascii=False) + "\n" for fields in rows)


def csv_text(rows: list[dict[str, object]], quoting: int = csv.QUOTE_MINIMAL, line_end: str = "\r\n") -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), quoting=quoting, lineterminator=line_end)  # type: ignore[arg-type]  # typeshed wants the literal
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@in_one_folder
@given(rows=st.lists(companies, min_size=1, max_size=5), bom=st.booleans())
def test_every_form_gives_the_rows_that_were_written(
    tmp_path: Path, rows: list[dict[str, object]], bom: bool
) -> None:
    mark = "\ufeff" if bom else ""
    forms = [
        json_lines(rows),
        json_lines(rows).rstrip("\n"),
        json_lines(rows).replace("\n", "\r\n"),
        json.dumps(rows),
        json.dumps(rows, ensure_ascii=False, indent=2),
        json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n",
        csv_text(rows),
        csv_text(rows, line_end="\n"),
        csv_text(rows, csv.QUOTE_ALL),
    ]
    for form in forms:
        outcomes = read(tmp_path / "extract", mark + form)
        assert [
            (row.row_number, row.identifier, row.name, row.capital)
            for row in outcomes
            if isinstance(row, RegisterRow)
        ] == [
            (place, row["Business_Accounting_NO"], row["Company_Name"], row["Paid_In_Capital_Amount"])
            for place, row in enumerate(rows, start=1)
        ], form


@in_one_folder
@given(rows=st.lists(businesses | companies, min_size=1, max_size=6))
def test_shapes_may_be_mixed_in_one_extract(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    outcomes = read(tmp_path / "extract", json_lines(rows))
    assert [row.kind.value for row in outcomes if isinstance(row, RegisterRow)] == [
        "business" if "President_No" in row else "company" for row in rows
    ]


@in_one_folder
@given(content=st.binary(max_size=400) | st.text(alphabet='[]{}",:\\\n aé１', max_size=200).map(str.encode))
@pytest.mark.parametrize("before", [b"", b"[", b"{", b"Business_Accounting_NO,Company_Name\n", b'[{"a":1},'])
def test_arbitrary_bytes_have_typed_outcomes(tmp_path: Path, before: bytes, content: bytes) -> None:
    try:
        outcomes = read(tmp_path / "extract", before + content)
    except InputRejected:
        return
    assert all(isinstance(outcome, RowRejected) for outcome in outcomes)


rubbish = st.binary(min_size=1, max_size=80).filter(lambda text: not text.isspace())


@in_one_folder
@given(line=rubbish.map(lambda text: text.replace(b"\n", b"")).filter(lambda text: bool(text.strip())))
def test_json_lines_keep_the_rows_around_a_bad_line(tmp_path: Path, line: bytes) -> None:
    row = json_lines([company()]).encode()
    outcomes = read(tmp_path / "extract", row + line + b"\n" + row)
    assert good(outcomes) == [(1, NUMBERS[0]), (3, NUMBERS[0])]
    assert [number for number, _ in bad(outcomes)] == [2]


def with_rubbish(rows: list[dict[str, object]], rubbish: bytes) -> bytes:
    written = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    return b"[" + b",\n".join([*written[:2], rubbish, *written[2:]]) + b"]"


@in_one_folder
@given(element=rubbish)
def test_an_array_keeps_the_rows_around_a_bad_element(tmp_path: Path, element: bytes) -> None:
    rows = [company(Business_Accounting_NO=number) for number in NUMBERS[:4]]
    outcomes = read(tmp_path / "extract", with_rubbish(rows, element))
    assert [identifier for _, identifier in good(outcomes)] == NUMBERS[:4]


@pytest.mark.parametrize(
    "element",
    [
        b'{"Business_Accounting_NO": "22099131", "Company_Name": "no end quote}',
        b'{"Business_Accounting_NO": "22099131", "Company_Name": "no end brace"',
        b'{"Business_Accounting_NO": "22099131", "Company_Name": nothing}',
        b'"Business_Accounting_NO": "22099131", "Company_Name": "no first brace"}',
        b'{"Business_Accounting_NO": "22099131", "Company_Name": "\xa5x\xaad"}',  # Big5
        b'{"Business_Accounting_NO": "22099131", "Company_Name": "\\ud842"}',
    ],
)
def test_a_broken_element_is_rejected_once_with_its_identifier(tmp_path: Path, element: bytes) -> None:
    rows = [company(Business_Accounting_NO=number) for number in NUMBERS[:4]]
    outcomes = read(tmp_path / "extract", with_rubbish(rows, element))
    assert good(outcomes) == list(zip([1, 2, 4, 5], NUMBERS[:4], strict=True))
    (rejected,) = (outcome for outcome in outcomes if isinstance(outcome, RowRejected))
    assert (rejected.row_number, rejected.identifier) == (3, "22099131")
    assert rejected.reason in {RejectReason.NOT_JSON, RejectReason.NOT_UTF8}


def test_elements_that_are_no_objects_keep_their_numbers(tmp_path: Path) -> None:
    outcomes = read(
        tmp_path / "extract", f"[1, null, {json.dumps(company())}, [2], {json.dumps(company())}, 3]"
    )
    assert good(outcomes) == [(3, NUMBERS[0]), (5, NUMBERS[0])]
    assert bad(outcomes) == [(number, RejectReason.NOT_AN_OBJECT) for number in (1, 2, 4, 6)]


def test_an_array_with_one_broken_element_in_every_chunk_loses_no_other(tmp_path: Path) -> None:
    written = [json.dumps(company(Company_Name=f"第{place}號{{}}公司")) for place in range(3_000)]
    broken = range(7, 3_000, 500)
    for place in broken:
        written[place] = written[place][:-30]
    outcomes = read(tmp_path / "extract", "[" + ",".join(written) + "]")
    assert [number for number, _ in bad(outcomes)] == [place + 1 for place in broken]
    assert [outcome.row_number for outcome in outcomes] == list(range(1, 3_001))


@scripted
@given(cut=st.integers(1, 2_000))
def test_a_cut_off_array_gives_the_rows_before_the_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    rows = [json.dumps(company(Business_Accounting_NO=number)) for number in NUMBERS[:6]]
    whole = "[" + ",".join(rows) + "]"
    cut = min(cut, len(whole) - 1)
    complete = sum(len(",".join(rows[: count + 1])) + 1 <= cut for count in range(len(rows)))
    outcomes = read(tmp_path_factory.getbasetemp() / "cut", whole[:cut])
    assert good(outcomes) == list(enumerate(NUMBERS[:complete], start=1))
    assert bad(outcomes) == [(complete + 1, RejectReason.ARRAY_CUT_OFF)]


def test_pages_written_one_behind_the_other_are_read_through(tmp_path: Path) -> None:
    page = json.dumps([company(), company()])
    assert len(good(read(tmp_path / "extract", f"{page}\n{page}\n"))) == 4


@pytest.mark.parametrize(
    "line",
    [
        b'"no end quote,1,2',
        b'"a"b,c',
        b"too,few",
        b",".join([b"too many"] * 40),
        b"\xa5\x78\xaa\x64,1",
        b'no "start" quote, but ",,',
    ],
)
def test_csv_keeps_the_records_around_a_bad_line(tmp_path: Path, line: bytes) -> None:
    header, *records = csv_text(
        [company(Business_Accounting_NO=number, Company_Name=f'"{number}" 公司') for number in NUMBERS]
    ).splitlines(keepends=True)
    content = "".join([header, *records[:3]]).encode() + line + b"\r\n" + "".join(records[3:]).encode()
    outcomes = read(tmp_path / "extract", content)
    assert [identifier for _, identifier in good(outcomes)] == NUMBERS
    assert [number for number, _ in bad(outcomes)] == [4]


def test_a_csv_field_may_hold_a_line_end_a_comma_and_quotes(tmp_path: Path) -> None:
    rows = [company(Responsible_Name='one,\r\n"two"'), company()]
    outcomes = read(tmp_path / "extract", csv_text(rows))
    assert good(outcomes) == [(1, NUMBERS[0]), (2, NUMBERS[0])]


def test_csv_counts_data_records_and_skips_blank_lines(tmp_path: Path) -> None:
    header, record = csv_text([branch()]).splitlines()
    outcomes = read(tmp_path / "extract", f"{header}\n\n{record}\n\n{record.replace(NUMBERS[1], '1')}\n")
    assert good(outcomes) == [(1, NUMBERS[1])]
    assert bad(outcomes) == [(2, RejectReason.NUMBER_WRONG)]


@pytest.mark.parametrize("first", [b"garbage\n", b'"\n', b"a,b\n"])
def test_json_lines_are_recognised_behind_a_bad_first_line(tmp_path: Path, first: bytes) -> None:
    outcomes = read(tmp_path / "extract", first + json_lines([company()]).encode())
    assert good(outcomes) == [(2, NUMBERS[0])]
    assert bad(outcomes) == [(1, RejectReason.NOT_JSON)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"\xef\xbb\xbf",
        "查無資料".encode(),
        b"<html>502</html>",
        b"a,b\n1,2\n",
        "[]".encode("utf-16"),
    ],
)
def test_a_file_that_is_no_extract_is_refused_as_a_whole(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputRejected, match="extract") as raised:
        read(tmp_path / "answer.json", content)
    assert raised.value.place is not None
    assert raised.value.place.endswith("answer.json")


def test_a_file_that_cannot_be_read_is_refused_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="cannot be read"):
        read_register(tmp_path / "absent")
    with pytest.raises(InputRejected, match="cannot be read"):
        read_register(tmp_path)


def test_an_empty_array_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "extract", "[]\n") == []


@pytest.mark.parametrize("form", [json_lines, csv_text])
def test_a_line_too_long_to_hold_costs_only_itself(
    tmp_path: Path, form: Callable[[list[dict[str, object]]], str]
) -> None:
    rows = [company(), company(Company_Name="長" * MAX_ROW_BYTES), company()]
    outcomes = read(tmp_path / "extract", form(rows))
    assert good(outcomes) == [(1, NUMBERS[0]), (3, NUMBERS[0])]
    assert bad(outcomes) == [(2, RejectReason.ROW_TOO_LONG)]


def test_an_element_that_fills_several_chunks_costs_only_itself(tmp_path: Path) -> None:
    rows = [company(), company(Company_Name="長" * 300_000), company()]
    outcomes = read(tmp_path / "extract", json.dumps(rows, ensure_ascii=False))
    assert good(outcomes) == [(1, NUMBERS[0]), (3, NUMBERS[0])]
    assert bad(outcomes) == [(2, RejectReason.ROW_TOO_LONG)]


@pytest.mark.parametrize("form", ["lines", "array", "csv", "one line"])
def test_memory_does_not_grow_with_the_extract(tmp_path: Path, form: str) -> None:
    chance = random.Random(1)
    rows = [company(Company_Name=f"{chance.random()}公司") for _ in range(1_000)]
    head, body, joint = {
        "lines": ("", json_lines(rows), ""),
        "array": ("[", ",".join(map(json.dumps, rows)), ","),
        "csv": (*csv_text(rows, line_end="\n").split("\n", 1), "\n"),
        "one line": ("{", "x" * 400_000, ""),
    }[form]
    peaks = []
    for size in (2, 12):
        path = tmp_path / f"{form}{size}"
        with path.open("w", encoding="utf-8") as file:
            file.write(head)
            for part in range(size):
                file.write(joint + body if part or form == "csv" else body)
        tracemalloc.start()
        read_rows = sum(1 for _ in read_register(path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read_rows == (1 if form == "one line" else 1_000 * size + (form == "array"))
    assert peaks[1] < peaks[0] * 1.2 + 100_000
