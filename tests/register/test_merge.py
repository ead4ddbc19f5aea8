"""Several rows for one number."""

from __future__ import annotations

from engine.kinds import Kind
from engine.register.merge import MergeResult, merge_rows
from engine.register.row import RegisterRow, RejectReason
from tests.register.extracts import row


def business_in(county: str, status_code: str, row_number: int) -> RegisterRow:
    return row(kind=Kind.BUSINESS, county=county, status_code=status_code, row_number=row_number)


def test_a_single_row_speaks() -> None:
    only = row()
    assert merge_rows([only]) == MergeResult(only)


def test_repetitions_are_folded_into_the_first() -> None:
    rows = [row(row_number=number) for number in (3, 7, 9)]
    assert merge_rows(rows) == MergeResult(rows[0], merged=(rows[1], rows[2]))


def test_the_row_in_force_speaks_for_a_business_that_moved() -> None:
    left, arrived, repeated = (
        business_in("臺北市", "05", 1),
        business_in("南投縣", "01", 2),
        business_in("南投縣", "01", 3),
    )
    assert merge_rows([left, arrived, repeated]) == MergeResult(arrived, merged=(left, repeated))


def test_without_a_row_in_force_the_one_that_did_not_move_speaks() -> None:
    left, closed = business_in("臺北市", "05", 1), business_in("南投縣", "03", 2)
    assert merge_rows([left, closed]) == MergeResult(closed, merged=(left,))


def test_a_business_that_only_left_speaks_by_its_first_row() -> None:
    first, second = business_in("臺北市", "05", 1), business_in("南投縣", "05", 2)
    assert merge_rows([first, second]) == MergeResult(first, merged=(second,))


def test_contradicting_rows_are_all_rejected_and_say_in_what_they_differ() -> None:
    rows = [row(row_number=1), row(row_number=2, name="別家公司"), row(row_number=3)]
    result = merge_rows(rows)
    assert result.chosen is None
    assert result.merged == ()
    assert [rejected.row_number for rejected in result.rejected] == [1, 2, 3]
    assert {rejected.reason for rejected in result.rejected} == {RejectReason.ROWS_CONTRADICTORY}
    assert "differs in name from" in result.rejected[1].detail
    assert "row 1, 3" in result.rejected[1].detail


def test_two_businesses_in_force_under_one_number_are_a_contradiction() -> None:
    result = merge_rows([business_in("臺北市", "01", 1), business_in("南投縣", "01", 2)])
    assert result.chosen is None
    assert len(result.rejected) == 2


def test_a_company_has_no_second_row() -> None:
    result = merge_rows([row(row_number=1), row(row_number=2, status="解散", status_code="04")])
    assert result.chosen is None
