"""Bad input: every row and card that is not used is told with its place and reason, and good ones are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from engine.kinds import Kind, Rank
from engine.store.schema import card, entity, public_key_claim
from tests.issuance.planning.desk import Desk, number_of, policy, public_key, sample_rows

GOOD = sample_rows(2)


@dataclass(frozen=True)
class BadRow:
    """A change to a good row, and what it gets."""

    change: dict[str, Any]
    reason: str
    field: str


BAD_ROWS = {
    "missing name": BadRow({"Company_Name": ""}, "missing-field", "Company_Name"),
    "bad date": BadRow({"Company_Setup_Date": "0991331"}, "date-wrong", "Company_Setup_Date"),
    "wrong number": BadRow(
        {"Business_Accounting_NO": "12345678"}, "business-number-wrong", "Business_Accounting_NO"
    ),
    "control character": BadRow({"Company_Name": "臺灣\u0007公司"}, "name-not-allowed", "Company_Name"),
    "name too long": BadRow({"Company_Name": "長" * 65}, "name-not-certifiable", "organization"),
    "private-use character": BadRow({"Company_Name": "\ue000公司"}, "name-not-certifiable", "organization"),
    "dissolved": BadRow({"Company_Status_Desc": "解散"}, "not-in-force", "status"),
}


@pytest.mark.cps("4.2.1.1")
@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_row_is_rejected_and_the_others_are_kept(desk: Desk, name: str) -> None:
    bad = BAD_ROWS[name]
    changed = sample_rows(1, start=2)[0] | bad.change
    rows = [GOOD[0], changed, GOOD[1]]
    summary = desk.plan(rows, desk.cards_for([*GOOD, *sample_rows(1, start=2)]))
    assert (summary.rows, summary.eligible, summary.items) == (3, 2, 4)
    assert summary.reasons == {bad.reason: 1}
    (reject,) = (r for r in desk.rejects(summary) if r[0] == "register")
    assert reject == ("register", 2, changed["Business_Accounting_NO"], bad.reason, bad.field)
    assert {row.identifier for row in desk.rows_of(entity)} == {number_of(row) for row in GOOD}


@pytest.mark.parametrize("line", ["not JSON", '{"Business_Accounting_NO": "11913502"', "[1]", '{"a": 1}'])
def test_line_that_is_no_row_is_rejected(desk: Desk, line: str) -> None:
    summary = desk.plan([GOOD[0], line, GOOD[1]], desk.cards_for(GOOD))
    assert (summary.rows, summary.eligible, summary.rejected) == (3, 2, 1)
    ((source, row, *_),) = desk.rejects(summary)
    assert (source, row) == ("register", 2)


def test_longest_name_is_certified(desk: Desk) -> None:
    row = GOOD[0] | {"Company_Name": "長" * 64}
    assert desk.plan([row], desk.cards_for([row])).eligible == 1


def test_rows_for_one_number_are_merged_or_contradict_each_other(desk: Desk) -> None:
    same, other = sample_rows(2)
    rows = [same, same, same, other, other | {"Company_Name": "另一公司"}]
    summary = desk.plan(rows, desk.cards_for([same, other]))
    assert (summary.eligible, summary.merged, summary.rejected) == (1, 2, 2)
    assert summary.reasons == {"rows-contradictory": 2}


@dataclass(frozen=True)
class BadKey:
    """A key that must not be certified."""

    modulus: int
    exponent: int = 65537
    says: str = ""


SMALL = (1 << 1023) + 1155
BAD_KEYS = {
    "too small": BadKey(SMALL, says="modulus of 1024 bits"),
    "even": BadKey(1 << 2047, says="modulus is even"),
    "exponent 1": BadKey((1 << 2047) + 981, 1, says="exponent out of range"),
    "exponent 3": BadKey((1 << 2047) + 981, 3, says="exponent out of range"),
    "small factor": BadKey(3 * ((1 << 2046) + 1), says="small factor"),
}


@pytest.mark.cps("6.1.5")
@pytest.mark.cps("6.1.6")
@pytest.mark.parametrize("name", BAD_KEYS)
@pytest.mark.parametrize("usage", ["signature", "encryption"])
def test_weak_key_is_refused_and_its_entity_told(desk: Desk, name: str, usage: str) -> None:
    bad = BAD_KEYS[name]
    weak = desk.card(number_of(GOOD[0]), keys={usage: public_key(bad.modulus, bad.exponent)})
    summary = desk.plan(GOOD, [weak, desk.card(number_of(GOOD[1]))])
    assert (summary.eligible, summary.cards, summary.cards_rejected) == (1, 2, 1)
    assert summary.card_reasons == {"public-key-refused": 1}
    assert summary.reasons == {"no-card-made": 1}
    assert desk.rejects(summary) == [
        ("card-keys", 1, weak.card_number, "public-key-refused", f"keys.{usage}"),
        ("register", 1, number_of(GOOD[0]), "no-card-made", "cards"),
    ]
    detail = next(row.detail for row in desk.contents()["run_reject"] if row.source == "card-keys")
    assert bad.says in detail


def test_card_line_that_is_wrong_is_refused(desk: Desk) -> None:
    cards = desk.cards_for(GOOD)
    summary = desk.plan(GOOD, [cards[0], b"not JSON\n", b'{"card_number": "MG1"}\n', cards[1]])
    assert (summary.eligible, summary.cards, summary.cards_rejected) == (2, 4, 2)
    assert [reject[:4] for reject in desk.rejects(summary)] == [
        ("card-keys", 2, None, "card-line-wrong"),
        ("card-keys", 3, "MG1", "card-line-wrong"),
    ]


def test_card_number_that_comes_twice_is_refused_the_second_time(desk: Desk) -> None:
    first = desk.card(number_of(GOOD[0]))
    second = desk.card(number_of(GOOD[1]), number=first.card_number)
    summary = desk.plan(GOOD, [first, second])
    assert (summary.eligible, summary.reasons) == (1, {"no-card-made": 1})
    assert ("card-keys", 2, first.card_number, "card-number-repeated", "card_number") in desk.rejects(summary)


@pytest.mark.parametrize("usage", ["signature", "encryption"])
def test_key_that_comes_twice_is_refused_the_second_time(desk: Desk, usage: str) -> None:
    first = desk.card(number_of(GOOD[0]))
    (key, *_) = first.keys.values()
    second = desk.card(number_of(GOOD[1]), keys={usage: key})
    summary = desk.plan(GOOD, [first, second])
    assert (summary.eligible, summary.card_reasons) == (1, {"public-key-repeated": 1})
    assert (
        "card-keys",
        2,
        second.card_number,
        "public-key-repeated",
        f"keys.{usage}",
    ) in desk.rejects(summary)


def test_card_number_of_an_earlier_run_is_taken(desk: Desk) -> None:
    first = desk.card(number_of(GOOD[0]))
    desk.plan(GOOD[:1], [first])
    summary = desk.plan(GOOD[1:], [desk.card(number_of(GOOD[1]), number=first.card_number)])
    assert (summary.eligible, summary.reasons) == (0, {"card-number-taken": 1})


@pytest.mark.cps("3.2.1")
@pytest.mark.parametrize("usage", ["signature", "encryption"])
def test_key_of_an_earlier_run_is_certified_already(desk: Desk, usage: str) -> None:
    first = desk.card(number_of(GOOD[0]))
    desk.plan(GOOD[:1], [first])
    (key, *_) = first.keys.values()
    claims = desk.rows_of(public_key_claim)
    summary = desk.plan(GOOD[1:], [desk.card(number_of(GOOD[1]), keys={usage: key})])
    assert (summary.eligible, summary.items) == (0, 0)
    ((_, row, identifier, reason, field),) = desk.rejects(summary)
    assert (row, identifier, reason, field) == (
        1,
        number_of(GOOD[1]),
        "public-key-certified",
        f"keys.{usage}",
    )
    assert desk.rows_of(public_key_claim) == claims


def test_cards_that_nobody_ordered_are_told(desk: Desk) -> None:
    stray = desk.card("00000000")
    summary = desk.plan(GOOD, [*desk.cards_for(GOOD), stray])
    assert (summary.eligible, summary.card_reasons) == (2, {"no-register-row": 1})
    assert desk.rejects(summary) == [("card-keys", 3, stray.card_number, "no-register-row", "identifier")]


@pytest.mark.parametrize("made_as", [{"kind": Kind.BUSINESS}, {"rank": Rank.SECONDARY}])
def test_card_of_another_kind_or_rank_does_not_serve(desk: Desk, made_as: dict[str, Any]) -> None:
    summary = desk.plan(GOOD, [desk.card(number_of(GOOD[0]), **made_as), desk.card(number_of(GOOD[1]))])
    assert (summary.eligible, summary.reasons) == (1, {"no-card-made": 1})


def test_too_few_secondary_cards_leave_the_entity_without_any(desk: Desk) -> None:
    secondaries = [desk.card(number_of(row), rank=Rank.SECONDARY) for row in (GOOD[0], GOOD[0], GOOD[1])]
    summary = desk.plan(
        GOOD, [*desk.cards_for(GOOD), *secondaries], by=policy(("primary", 1), ("secondary", 2))
    )
    assert (summary.eligible, summary.items, summary.reasons) == (1, 6, {"no-card-made": 1})
    assert {row.rank for row in desk.rows_of(card)} == {"primary", "secondary"}


def test_everything_wrong_at_once_still_adds_up(desk: Desk) -> None:
    """One extract with every kind of row: good, bad, repeated, contradictory, held, without a card."""
    rows = sample_rows(12)
    held, cardless, repeated, torn = rows[0], rows[1], rows[2], rows[3]
    desk.plan([held], desk.cards_for([held]))
    bad = [rows[4] | change.change for change in BAD_ROWS.values()][:4]
    extract = [held, cardless, repeated, repeated, torn, torn | {"Company_Name": "別的公司"}, *bad, *rows[5:]]
    summary = desk.plan([*extract, "{", "[]"], desk.cards_for([*rows[2:], held]))
    assert (summary.rows, summary.already_held, summary.merged) == (len(extract) + 2, 1, 1)
    assert summary.eligible == 1 + len(rows[5:])
    assert summary.rejected == 1 + 2 + 4 + 2
    assert len(desk.rejects(summary)) == summary.rejected + summary.cards_rejected


def test_reject_report_of_many_rows_is_complete(desk: Desk) -> None:
    """More than are written at a time, on both sides."""
    broken_cards: list[bytes] = [b"{}\n"] * 1_500
    summary = desk.plan([*GOOD, *["{"] * 2_500], [*desk.cards_for(GOOD), *broken_cards])
    assert (summary.eligible, summary.rejected, summary.cards_rejected) == (2, 2_500, 1_500)
    rejects = desk.rejects(summary)
    assert [r[1] for r in rejects if r[0] == "register"] == list(range(3, 2_503))
    assert [r[1] for r in rejects if r[0] == "card-keys"] == list(range(3, 1_503))
