"""Kinds and time: branches, partnerships, and cards that ended."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from sqlalchemy import update

from bench.synthetic_register import business_numbers
from engine.issuance.plan_chunk import CHUNK_ENTITIES
from engine.kinds import Kind
from engine.store.claims import release_claims_of_aborted, release_primary_card
from engine.store.schema import card, entity, primary_card_claim, public_key_claim, run, subject_claim
from engine.store.work_units import abort_unreserved
from tests.issuance.planning.desk import Desk, number_of, sample_rows
from tests.register.extracts import branch, business
from tests.store.plans import issue_run

COMPANY = sample_rows(1)[0]
NUMBERS = list(islice(business_numbers(), 8))


def partnership(number: str, name: str, **changes: object) -> dict[str, Any]:
    return {
        "kind": "limited-partnership",
        "Business_Accounting_NO": number,
        "Company_Name": name,
        "Company_Status_Desc": "核准設立",
        "Company_Setup_Date": "1100101",
    } | changes


def branch_of(company: str, number: str, name: str = "花蓮分公司") -> dict[str, Any]:
    return branch(
        Business_Accounting_NO=company, Branch_Office_Business_Accounting_NO=number, Branch_Office_Name=name
    )


def subject(der: bytes) -> list[tuple[str, str]]:
    """A Name as another library reads it."""
    names = {"2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.5": "serialNumber"}
    name = asn1_x509.Name.load(der, strict=True)
    return [(names[pair["type"].dotted], pair["value"].native) for rdn in name.chosen for pair in rdn]


@pytest.mark.cps("3.1.4")
def test_subjects_have_the_attributes_of_their_kind(desk: Desk) -> None:
    company = number_of(COMPANY)
    rows = [
        COMPANY,
        branch_of(company, NUMBERS[0]),
        business(President_No=NUMBERS[1]),
        partnership(NUMBERS[2], "甲有限合夥"),
        branch_of(NUMBERS[2], NUMBERS[3], "乙分支") | {"kind": "limited-partnership-branch"},
    ]
    kinds = [
        Kind.COMPANY,
        Kind.BRANCH,
        Kind.BUSINESS,
        Kind.LIMITED_PARTNERSHIP,
        Kind.LIMITED_PARTNERSHIP_BRANCH,
    ]
    cards = [desk.card(number_of(row), kind=kind) for row, kind in zip(rows, kinds, strict=True)]
    summary = desk.plan(rows, cards)
    assert (summary.eligible, summary.rejected) == (5, 0)
    numbers = {row.kind: row.subscriber_number for row in desk.rows_of(entity)}
    subjects = {row.kind: subject(row.subject) for row in desk.rows_of(card)}
    name = COMPANY["Company_Name"]
    assert subjects == {
        "company": [("C", "TW"), ("O", name), ("serialNumber", numbers["company"])],
        "branch": [("C", "TW"), ("O", name), ("serialNumber", numbers["branch"]), ("OU", "花蓮分公司")],
        "business": [
            ("C", "TW"),
            ("L", "南投縣"),
            ("O", "大同小吃店"),
            ("serialNumber", numbers["business"]),
        ],
        "limited-partnership": [("C", "TW"), ("O", "甲有限合夥")],
        "limited-partnership-branch": [("C", "TW"), ("O", "甲有限合夥"), ("OU", "乙分支")],
    }
    assert numbers["limited-partnership"] is numbers["limited-partnership-branch"] is None
    assert len({n for n in numbers.values() if n}) == 3


@pytest.mark.cps("3.1.4")
def test_branch_takes_its_company_name_from_the_store(desk: Desk) -> None:
    company = number_of(COMPANY)
    office = branch_of(company, NUMBERS[0])
    unknown = desk.plan([office], [desk.card(NUMBERS[0], kind=Kind.BRANCH)])
    assert unknown.reasons == {"company-name-unknown": 1}
    desk.plan([COMPANY], desk.cards_for([COMPANY]))
    known = desk.plan([office], [desk.card(NUMBERS[0], kind=Kind.BRANCH)])
    assert known.eligible == 1
    assert ("O", COMPANY["Company_Name"]) in subject(desk.rows_of(card)[-1].subject)


def test_branch_of_a_company_whose_rows_disagree_on_the_name_is_refused(desk: Desk) -> None:
    rows = [
        COMPANY,
        COMPANY | {"Company_Name": "別的公司"},
        branch_of(number_of(COMPANY), NUMBERS[0]),
    ]
    summary = desk.plan(rows, [desk.card(NUMBERS[0], kind=Kind.BRANCH)])
    assert summary.reasons == {"rows-contradictory": 2, "company-name-unknown": 1}


@pytest.mark.cps("3.1.5")
def test_partnership_with_the_name_of_another_goes_to_a_person(desk: Desk) -> None:
    rows = [partnership(number, "甲有限合夥") for number in NUMBERS[:2]]
    cards = [desk.card(number, kind=Kind.LIMITED_PARTNERSHIP) for number in NUMBERS[:3]]
    in_one_plan = desk.plan(rows, cards[:2])
    assert (in_one_plan.eligible, in_one_plan.reasons) == (1, {"subject-held-by-another": 1})
    later = desk.plan([partnership(NUMBERS[2], "甲有限合夥")], cards[2:])
    assert (later.eligible, later.reasons) == (0, {"subject-held-by-another": 1})
    assert len(desk.rows_of(subject_claim)) == len(desk.rows_of(entity)) == 1


@pytest.mark.cps("3.1.5")
def test_partnership_cannot_rename_itself_to_a_name_that_another_holds(desk: Desk) -> None:
    kind = Kind.LIMITED_PARTNERSHIP
    rows = [partnership(NUMBERS[0], "甲有限合夥"), partnership(NUMBERS[1], "乙有限合夥")]
    plan_expired(desk, rows, kind)
    renamed = desk.plan([partnership(NUMBERS[0], "乙有限合夥")], [desk.card(NUMBERS[0], kind=kind)])
    assert renamed.reasons == {"subject-held-by-another": 1}
    free = desk.plan([partnership(NUMBERS[0], "丙有限合夥")], [desk.card(NUMBERS[0], kind=kind)])
    same = desk.plan([rows[1]], [desk.card(NUMBERS[1], kind=kind)])
    assert (free.eligible, same.eligible) == (1, 1)
    holders = [row.entity_id for row in desk.rows_of(subject_claim)]
    assert sorted(holders) == [1, 1, 2]  # the old name stays with it


def plan_expired(desk: Desk, rows: list[dict[str, Any]], kind: Kind = Kind.COMPANY) -> int:
    """Plan and issue, and let the certificates expire."""
    summary = desk.plan(rows, desk.cards_for(rows, kind=kind))
    assert summary.run_id is not None
    assert summary.eligible == len(rows)
    issue_run(desk.store, summary.run_id, not_after=desk.clock.now() + timedelta(days=365))
    desk.clock.move(timedelta(days=366))
    return summary.run_id


@pytest.mark.cps("1.3.5.1")
@pytest.mark.cps("3.2.1")
def test_expired_primary_card_can_be_replaced(desk: Desk) -> None:
    rows = sample_rows(2)
    summary = desk.plan(rows, desk.cards_for(rows))
    assert summary.run_id is not None
    issue_run(desk.store, summary.run_id, not_after=desk.clock.now() + timedelta(days=365))
    numbers = [row.subscriber_number for row in desk.rows_of(entity)]
    desk.clock.move(timedelta(days=365))
    assert desk.plan(rows, desk.cards_for(rows)).already_held == 2
    desk.clock.move(timedelta(seconds=1))
    renamed = [rows[0] | {"Company_Name": "新名股份有限公司"}, rows[1]]
    again = desk.plan(renamed, desk.cards_for(rows))
    assert (again.eligible, again.already_held) == (2, 0)
    assert [row.subscriber_number for row in desk.rows_of(entity)] == numbers
    cards = desk.rows_of(card)
    assert {row.card_id for row in desk.rows_of(primary_card_claim)} == {c.id for c in cards[2:]}
    assert ("O", "新名股份有限公司") in [pair for c in cards[2:] for pair in subject(c.subject)]
    assert desk.plan(rows, desk.cards_for(rows)).already_held == 2


@pytest.mark.cps("3.3")
def test_revoked_primary_card_can_be_replaced(desk: Desk) -> None:
    rows = sample_rows(2)
    desk.plan(rows, desk.cards_for(rows))
    (claim, _) = desk.rows_of(primary_card_claim)
    with desk.store.write() as connection:
        release_primary_card(connection, claim.entity_id, claim.card_id)
    again = desk.plan(rows, desk.cards_for(rows))
    assert (again.eligible, again.already_held) == (1, 1)


def test_cards_of_an_aborted_run_can_be_planned_again(desk: Desk) -> None:
    rows = sample_rows(3)
    extract, cards = desk.extract(rows), desk.card_file(desk.cards_for(rows))
    first = desk.plan(extract, cards)
    assert first.run_id is not None
    with desk.store.write() as connection:
        abort_unreserved(connection, first.run_id)
        release_claims_of_aborted(connection, first.run_id)
        connection.execute(update(run).values(state="aborted"))
    again = desk.plan(extract, cards)
    assert (again.eligible, again.items, again.already_held) == (3, 6, 0)
    assert len(desk.rows_of(public_key_claim)) == 6
    assert len(desk.rows_of(entity)) == 3


def test_clashes_are_found_across_chunks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.issuance.planning.CHUNK_ENTITIES", 1)
    assert CHUNK_ENTITIES > 1
    kind = Kind.LIMITED_PARTNERSHIP
    rows = [partnership(number, "甲有限合夥") for number in NUMBERS[:3]]
    for dry_run in (True, False):
        summary = desk.plan(rows, desk.cards_for(rows, kind=kind), dry_run=dry_run)
        assert (summary.eligible, summary.reasons) == (1, {"subject-held-by-another": 2})
