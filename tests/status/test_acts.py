"""What acts touch: a certificate, a card, an entity; what they leave in store, feed and audit log."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from engine.audit.verify import stored_head, stored_records, verify_chain
from engine.clock import SetClock
from engine.errors import ClockWrong, InputRejected, StatusConflict, StoreError
from engine.status.act_request import ActRequest
from engine.status.acts import ActResult, StatusActs
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Origin, Scope, Verb
from engine.store.claims import held_primary_cards
from engine.store.database import Store
from engine.store.schema import CertificateState, crl_entry
from engine.store.standings import standings_of_cards
from engine.store.status_changes import ChangeKind, changes_after
from tests.status.issued import CARDS, COMPANY, SET_UP, Issued
from tests.store.plans import (
    NOW,
    append_plan,
    card,
    complete_unit,
    contents,
    count,
    entity,
    issue_run,
    lease,
    make_run,
    reserve_unit,
)

S, R, A, V = Verb.SUSPEND, Verb.RESUME, Verb.ACCEPT, Verb.REVOKE
LETTER: dict[str, Any] = {"document": "經授商字第1號"}


def all_states(issued: Issued) -> dict[str, list[str]]:
    return {number: issued.states(number) for number in CARDS}


GOOD = {number: ["GOOD"] * size for number, size in CARDS.items()}


@pytest.mark.cps("4.4.3")
@pytest.mark.cps("choice 9")
def test_a_subscriber_revokes_that_certificate_only(issued: Issued) -> None:
    first, _ = issued.serials("P")
    result = issued.do(V, first.lower(), "not-needed")
    assert [touched.serial.hex().upper() for touched in result.certificates] == [first]
    assert all_states(issued) == GOOD | {"P": ["REVOKED", "GOOD"]}


@pytest.mark.cps("4.4.7")
@pytest.mark.cps("4.4.9")
def test_a_subscriber_suspends_and_resumes_that_card(issued: Issued) -> None:
    issued.do(S, "S", "token-lost")
    assert all_states(issued) == GOOD | {"S": ["HELD", "HELD"]}
    issued.do(R, "S", "subscriber-request")
    assert all_states(issued) == GOOD


@pytest.mark.cps("4.4.2")
@pytest.mark.cps("4.4.3")
@pytest.mark.cps("4.4.6")
@pytest.mark.cps("4.4.7")
@pytest.mark.parametrize(
    ("verb", "ground", "state"), [(S, "business-suspended", "HELD"), (V, "entity-ended", "REVOKED")]
)
def test_an_authority_touches_every_card_of_every_entity_of_the_number(
    issued: Issued, verb: Verb, ground: str, state: str
) -> None:
    result = issued.do(verb, COMPANY, ground, **LETTER)
    assert len(result.certificates) == 6
    touched = {"P": [state] * 2, "S": [state] * 2, "B": [state] * 2}
    assert all_states(issued) == GOOD | touched


@pytest.mark.cps("4.4.9")
def test_an_authority_resumes_all_but_what_the_subscriber_suspended(issued: Issued) -> None:
    issued.do(S, "P", "own-judgement")
    issued.do(S, COMPANY, "business-suspended", **LETTER)
    result = issued.do(R, COMPANY, "cause-gone", **LETTER)
    assert Counter(touched.state.name for touched in result.certificates) == {"HELD": 2, "GOOD": 4}
    assert all_states(issued) == GOOD | {"P": ["HELD", "HELD"]}


@pytest.mark.cps("choice 10")
def test_an_authority_lifts_only_its_own(issued: Issued) -> None:
    for body in ("經濟部", "金融監督管理委員會"):
        issued.do(S, COMPANY, "authority-notice", on_behalf_of=body, **LETTER)
    with pytest.raises(StatusConflict, match="authority of 經濟部, authority of 金融監督管理委員會"):
        issued.do(R, COMPANY, "cause-gone", on_behalf_of="衛生福利部", **LETTER)
    issued.do(R, COMPANY, "cause-gone", on_behalf_of="經濟部", **LETTER)
    assert set(issued.states("P")) == {"HELD"}
    issued.do(R, COMPANY, "cause-gone", on_behalf_of="金融監督管理委員會", **LETTER)
    assert set(issued.states("P")) == {"GOOD"}


def test_an_entity_act_skips_what_is_revoked_and_fails_when_nothing_is_left(issued: Issued) -> None:
    issued.do(V, "P", "key-compromise")
    issued.do(V, "S", "key-compromise")
    assert len(issued.do(V, COMPANY, "entity-ended", **LETTER).certificates) == 2
    assert [status.reason for status in issued.status("P")] == [CrlReason.keyCompromise] * 2
    with pytest.raises(StatusConflict, match="entity 00001001: revoked already"):
        issued.do(V, COMPANY, "entity-ended", **LETTER)


@pytest.mark.parametrize(
    ("scope", "subject"), [(Scope.CERTIFICATE, "00" * 16), (Scope.CARD, "none"), (Scope.ENTITY, "99999999")]
)
def test_what_is_unknown_is_refused(issued: Issued, scope: Scope, subject: str) -> None:
    with pytest.raises(StatusConflict, match=f"{scope.value} {subject}: there is no such certificate"):
        issued.do(V, subject, "judicial-notice", scope=scope, on_behalf_of="court", **LETTER)
    assert (issued.acts_stored, issued.sequence) == (0, 0)


def test_what_is_reserved_and_not_signed_is_unknown(store: Store) -> None:
    with store.write() as connection:
        run_id = make_run(connection)
        append_plan(connection, run_id, [card(entity(1), "MG1")])
    held = lease(store, run_id)
    reserved = reserve_unit(store, held)
    complete_unit(store, held, failing=1)
    acts = StatusActs(store, SetClock(NOW), "tester")
    request = ActRequest(V, Scope.CERTIFICATE, reserved[0].serial.hex(), "not-needed")
    with pytest.raises(StatusConflict, match="no such"):
        acts.perform(request)
    assert len(acts.perform(ActRequest(V, Scope.CARD, "MG1", "not-needed")).certificates) == 1


@pytest.mark.cps("4.4.1")
def test_a_lapsed_pre_check_touches_set_up_certificates_only(issued: Issued) -> None:
    with pytest.raises(StatusConflict, match=r"kind company.*4\.4\.1\(10\): setup"):
        issued.do(V, "P", "pre-check-lapsed")
    issued.do(V, SET_UP, "pre-check-lapsed")
    assert all_states(issued) == GOOD | {"U": ["REVOKED"]}


@pytest.mark.cps("4.3.1")
@pytest.mark.cps("4.3.2")
def test_acceptance_is_recorded_once_and_is_no_change_of_status(issued: Issued) -> None:
    first, second = issued.serials("P")
    assert issued.do(A, first, "content-confirmed").sequence == 1
    result = issued.do(A, "P", "content-confirmed")
    assert [touched.serial.hex().upper() for touched in result.certificates] == [second]
    assert {status.accepted_at for status in issued.status("P")} == {issued.clock.now()}
    with pytest.raises(StatusConflict, match="accepted already"):
        issued.do(A, "P", "content-confirmed")
    assert issued.feed_kinds() == [ChangeKind.ACCEPTED, ChangeKind.ACCEPTED]


@pytest.mark.cps("4.4.9")
def test_acceptance_after_eighteen_months_goes_by_written_application(issued: Issued) -> None:
    first, _ = issued.serials("P")
    issued.find_unaccepted(first)
    with pytest.raises(StatusConflict, match=r"not accepted in time.*written application"):
        issued.do(A, first, "content-confirmed")
    issued.do(R, first, "written-application", document="申請書")
    issued.do(A, first, "content-confirmed")
    assert issued.states("P") == ["GOOD", "GOOD"]


@pytest.mark.cps("3.3")
@pytest.mark.cps("1.3.5.1")
def test_a_primary_card_is_released_with_its_last_certificate(issued: Issued) -> None:
    def held() -> set[int]:
        with issued.store.read() as connection:
            return set(held_primary_cards(connection, [1001, 1002, 1004], issued.clock.now()))

    first, second = issued.serials("P")
    issued.do(V, "S", "not-needed")  # a secondary card releases nothing
    issued.do(V, first, "not-needed")
    issued.do(S, second, "token-lost")
    assert held() == {1001, 1002, 1004}
    issued.do(V, second, "not-needed")
    assert held() == {1002, 1004}


def test_an_expired_certificate_does_not_keep_its_card(store: Store) -> None:
    """One of the card's certificates runs out sooner; the other is revoked after that."""
    with store.write() as connection:
        run_id = make_run(connection)
        append_plan(connection, run_id, [card(entity(1), "MG1")], unit_size=1)
    soon, late = NOW + timedelta(days=1), NOW + timedelta(days=9)
    for not_after in (soon, late):
        held = lease(store, run_id)
        reserve_unit(store, held)
        complete_unit(store, held, not_after=not_after)
    acts = StatusActs(store, SetClock(NOW + timedelta(days=2)), "tester")
    result = acts.perform(ActRequest(V, Scope.CARD, "MG1", "not-needed"))
    assert len(result.certificates) == 1
    with store.read() as connection:
        assert held_primary_cards(connection, [1], NOW) == {}


@pytest.mark.cps("4.4.3")
def test_an_entity_with_a_thousand_cards_in_one_transaction(store: Store) -> None:
    cards = 1000
    holder = entity(1)
    known = holder._replace(is_new=False)
    with store.write() as connection:
        run_id = make_run(connection)
        append_plan(connection, run_id, [card(holder, "MG0")], unit_size=200)
        many = [card(known, f"MG{n}", rank="secondary") for n in range(1, cards)]
        append_plan(connection, run_id, many, unit_size=200)
    issue_run(store, run_id)
    acts = StatusActs(store, SetClock(NOW), "tester")
    begun: list[object] = []
    event.listen(store.engine, "begin", begun.append)
    result = acts.perform(
        ActRequest(V, Scope.ENTITY, holder.identifier, "entity-ended", document="經授商字第1號")
    )
    assert len(begun) == 1
    assert len({touched.serial for touched in result.certificates}) == 2 * cards == result.sequence
    assert {touched.state for touched in result.certificates} == {CertificateState.REVOKED}
    assert count(store, crl_entry) == 2 * cards
    with store.read() as connection:
        found = standings_of_cards(connection, range(1, cards + 1))
        assert {(card.revision, len(card.certificates)) for card in found} == {(1, 2)}
        assert [change.sequence for change in changes_after(connection, 0, 9999)] == list(
            range(1, 2 * cards + 1)
        )


@pytest.mark.cps("4.5.1")
def test_every_act_names_actor_ground_and_document(issued: Issued) -> None:
    since = issued.clock.now() - timedelta(hours=2)
    result = issued.do(V, COMPANY, "entity-ended", on_behalf_of="臺北市商業處", invalidity_at=since, **LETTER)
    name, body = issued.events()[-1]
    (recorded,) = json.loads(body)["acts"]
    serials = sorted(serial for number in "PSB" for serial in issued.serials(number))
    assert name == "certificates.revoked"
    assert sorted(recorded.pop("certificates")) == serials
    assert recorded == {
        "act": result.act_id,
        "scope": "entity",
        "subject": COMPANY,
        "origin": "authority",
        "on_behalf_of": "臺北市商業處",
        "ground": "entity-ended",
        "clause": "4.4.1(4)",
        "document": LETTER["document"],
        "reason": "cessationOfOperation",
        "invalidity_date": since.isoformat(),
    }
    assert json.loads(body)["group"] == 8


@pytest.mark.cps("4.5.1")
def test_a_refused_act_is_recorded_too(issued: Issued) -> None:
    issued.do(S, "P", "token-lost")
    for scope, subject, ground in ((Scope.CARD, "P", "token-lost"), (Scope.ENTITY, COMPANY, "token-lost")):
        with pytest.raises((StatusConflict, InputRejected)):
            issued.do(S, subject, ground, scope=scope)
        name, body = issued.events()[-1]
        (recorded,) = json.loads(body)["acts"]
        assert name == "status-act.refused"
        assert (recorded["subject"], recorded["verb"]) == (subject, "suspend")
        assert recorded["refused"]
        assert "CPS" in recorded["rule"] or "choice" in recorded["rule"]
    assert issued.acts_stored == 1
    with issued.store.read() as connection:
        assert verify_chain(stored_records(connection), stored_head(connection), []) == []


def test_a_refusal_can_be_recorded_whatever_was_asked(issued: Issued) -> None:
    """Bytes of a command line that are not UTF-8 arrive as lone surrogates."""
    for request in (
        ActRequest(V, Scope.CARD, "\udcff", "not-needed"),
        ActRequest(V, Scope.CARD, "P", "\udcff" * 999, document="\udcff"),
    ):
        with pytest.raises(InputRejected):
            issued.acts.perform(request)
    assert [name for name, _ in issued.events()] == ["status-act.refused"] * 2


def test_acts_together_have_an_outcome_each_and_see_each_other(issued: Issued) -> None:
    def request(verb: Verb, subject: str, ground: str) -> ActRequest:
        return ActRequest(verb, Scope.CARD, subject, ground)

    outcomes = issued.acts.perform_together(
        [
            request(S, "P", "token-lost"),
            request(S, "P", "token-lost"),
            request(V, "none", "not-needed"),
            request(V, "S", "because"),
            request(R, "P", "subscriber-request"),
            request(S, "P", "own-judgement"),
            request(V, "P", "not-needed"),
            request(S, "B", "token-lost"),
            request(R, "B", "subscriber-request"),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [
        ActResult,
        StatusConflict,
        StatusConflict,
        InputRejected,
        *[ActResult] * 5,
    ]
    assert all_states(issued) == GOOD | {"P": ["REVOKED", "REVOKED"]}
    assert [status.holds for status in issued.status("P")] == [(), ()]
    assert issued.acts_stored == 6
    assert issued.sequence == 2  # what was suspended and resumed in one step, nobody ever saw
    assert Counter(name for name, _ in issued.events()) == {
        "certificates.suspended": 1,
        "certificates.resumed": 1,
        "certificates.revoked": 1,
        "status-act.refused": 1,
    }


def test_the_time_of_an_act_is_not_before_the_newest_record(issued: Issued) -> None:
    issued.do(S, "P", "token-lost")
    placed = issued.clock.now()
    issued.clock.move(timedelta(seconds=-1))
    assert issued.do(R, "P", "subscriber-request").performed_at == placed
    issued.clock.move(timedelta(seconds=-2))
    unchanged = contents(issued.store)
    with pytest.raises(ClockWrong):
        issued.do(S, "P", "token-lost")
    assert contents(issued.store) == unchanged


@pytest.mark.cps("4.5.6")
def test_what_cannot_be_audited_does_not_happen(issued: Issued) -> None:
    with issued.store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit_record BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    unchanged = contents(issued.store)
    with pytest.raises(StoreError, match="disk full"):
        issued.do(V, "P", "key-compromise")
    assert contents(issued.store) == unchanged


def test_an_act_waits_for_the_feed_no_longer_than_its_commit(issued: Issued) -> None:
    """The answer names the number up to which a reader must have come to have seen the act."""
    result = issued.do(V, "P", "key-compromise")
    with issued.store.read() as connection:
        changes = changes_after(connection, 0, 10)
        revoked = connection.execute(select(crl_entry.c.item_id)).scalars().all()
    assert result.sequence == changes[-1].sequence == 2
    assert {change.subject for change in changes} == set(revoked)


def test_a_counter_acts_for_the_cardholder(issued: Issued) -> None:
    issued.do(S, "P", "token-lost", origin=Origin.COUNTER)
    with pytest.raises(StatusConflict, match="holds: counter"):
        issued.do(R, "P", "subscriber-request")
    issued.do(R, "P", "counter-application")
    assert all_states(issued) == GOOD
