"""Grounds fit who asks and what he names; a request that breaks a rule says which field and which clause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.errors import InputRejected
from engine.status.act_request import TEXT_LIMIT, Act, ActRequest, act_of
from engine.status.crl_reasons import REVOKING, CrlReason, reason_named
from engine.status.grounds import GROUNDS, NOT_ACCEPTED, Ground, find_ground
from engine.status.origins import NAMES_ITS_BODY, SCOPES, Origin, Scope, Verb
from tests.store.plans import NOW

SERIAL = "41A2" * 8
SUBJECTS = {Scope.CERTIFICATE: SERIAL, Scope.CARD: "MG1", Scope.ENTITY: "00001001"}
BY_HAND = [ground for ground in GROUNDS if ground.name != NOT_ACCEPTED]
REVOKE = ActRequest(Verb.REVOKE, Scope.CERTIFICATE, SERIAL, "key-compromise")
NOTICE = ActRequest(
    Verb.SUSPEND, Scope.ENTITY, "00001001", "judicial-notice", on_behalf_of="court", document="1"
)


def ask(ground: Ground, origin: Origin, scope: Scope) -> ActRequest:
    body = "a body" if origin in NAMES_ITS_BODY else ""
    return ActRequest(ground.verb, scope, SUBJECTS[scope], ground.name, origin, body, "a document")


def refused(request: ActRequest) -> InputRejected:
    with pytest.raises(InputRejected) as raised:
        act_of(request, NOW)
    return raised.value


@pytest.mark.cps("4.4.1")
@pytest.mark.cps("4.4.5")
@pytest.mark.parametrize(
    ("verb", "section", "last"), [(Verb.REVOKE, "4.4.1", 10), (Verb.SUSPEND, "4.4.5", 5)]
)
def test_every_ground_of_the_lists_is_there(verb: Verb, section: str, last: int) -> None:
    clauses = ", ".join(ground.clause for ground in GROUNDS if ground.verb is verb)
    clauses = clauses.replace(", (", f", {section}(")
    for number in range(1, last + 1):
        assert f"{section}({number})" in clauses
    for number in (1, 2):
        assert f"{section} subscriber ({number})" in clauses


@pytest.mark.cps("4.4.2")
@pytest.mark.cps("4.4.6")
@pytest.mark.parametrize("ground", BY_HAND, ids=lambda ground: f"{ground.verb.value} {ground.name}")
def test_a_ground_is_for_those_it_names_and_for_nobody_else(ground: Ground) -> None:
    for origin in Origin:
        scopes, _ = SCOPES[origin]
        for scope in Scope:
            request = ask(ground, origin, scope)
            if origin not in ground.origins:
                error = refused(request)
                assert (error.place, error.value) == ("origin", origin.value)
                assert ground.clause in str(error.rule)
            elif scope not in scopes:
                assert refused(request).place == "subject"
            else:
                act = act_of(request, NOW)
                assert (act.ground, act.origin, act.subject) == (ground, origin, SUBJECTS[scope])
                assert (act.reason in REVOKING) == (ground.verb is Verb.REVOKE)


@pytest.mark.cps("4.4.2")
@pytest.mark.cps("4.4.7")
@pytest.mark.parametrize(
    ("verb", "ground", "scope", "clause"),
    [
        (Verb.REVOKE, "entity-ended", Scope.CERTIFICATE, "4.4.2(2)"),
        (Verb.SUSPEND, "business-suspended", Scope.CARD, "4.4.6(2)"),
        (Verb.RESUME, "cause-gone", Scope.CERTIFICATE, "4.4.6(2)"),
        (Verb.REVOKE, "key-compromise", Scope.ENTITY, "4.4.3"),
        (Verb.SUSPEND, "token-lost", Scope.ENTITY, "4.4.7"),
    ],
)
def test_authorities_touch_the_entity_and_subscribers_their_card(
    verb: Verb, ground: str, scope: Scope, clause: str
) -> None:
    error = refused(ActRequest(verb, scope, SUBJECTS[scope], ground, document="1"))
    assert clause in str(error.rule)


def test_an_unknown_ground_names_those_there_are() -> None:
    error = refused(replace(REVOKE, ground="because"))
    assert (error.place, error.value) == ("ground", "because")
    names = str(error.rule).split("one of ")[1].split(", ")
    assert names == [ground.name for ground in GROUNDS if ground.verb is Verb.REVOKE]
    assert "has a ground" in refused(replace(REVOKE, ground="")).message


def test_the_ground_of_one_act_is_not_that_of_another() -> None:
    assert refused(replace(REVOKE, verb=Verb.SUSPEND)).place == "ground"


@pytest.mark.cps("4.4.5")
def test_nobody_finds_a_certificate_unaccepted_by_hand() -> None:
    request = ActRequest(Verb.SUSPEND, Scope.CERTIFICATE, SERIAL, NOT_ACCEPTED, Origin.NON_ACCEPTANCE)
    assert "suspend-unaccepted" in str(refused(request).rule)


def test_the_origin_is_the_one_the_ground_means() -> None:
    request = ActRequest(Verb.SUSPEND, Scope.CARD, "MG1", "token-lost")
    assert act_of(request, NOW).origin is Origin.SUBSCRIBER
    assert act_of(replace(request, origin=Origin.COUNTER), NOW).origin is Origin.COUNTER


@pytest.mark.cps("4.4.1")
@pytest.mark.parametrize("document", [None, "", "  "])
def test_a_body_shows_a_document(document: str | None) -> None:
    assert refused(replace(NOTICE, document=document)).place == "document"
    assert act_of(REVOKE, NOW).document is None


@pytest.mark.cps("choice 10")
def test_a_court_is_named_and_a_subscriber_is_not() -> None:
    assert refused(replace(NOTICE, on_behalf_of=" ")).place == "on_behalf_of"
    assert refused(replace(REVOKE, on_behalf_of="court")).place == "on_behalf_of"
    registering = ActRequest(Verb.SUSPEND, Scope.ENTITY, "00001001", "business-suspended", document="1")
    assert act_of(registering, NOW).on_behalf_of == ""


def test_texts_are_brought_into_one_form() -> None:
    act = act_of(replace(NOTICE, on_behalf_of="  cafe\N{COMBINING ACUTE ACCENT} ", document=" 1 "), NOW)
    assert (act.on_behalf_of, act.document) == ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "1")
    spelled = ":".join(SERIAL.lower()[place : place + 2] for place in range(0, 32, 2))
    assert act_of(replace(REVOKE, subject=f" {spelled} "), NOW).subject == SERIAL


@pytest.mark.parametrize("text", ["a\nb", "a\x00", "\u202eab", "\ud800", "a" * (TEXT_LIMIT + 1)])
@pytest.mark.parametrize("field", ["document", "on_behalf_of", "subject"])
def test_a_text_is_one_short_line(field: str, text: str) -> None:
    assert refused(replace(NOTICE, **{field: text})).place == field  # type: ignore[arg-type]  # a text field


@pytest.mark.parametrize("serial", ["", "41", "41A2" * 7, "41A2" * 9, "x" * 32])
def test_a_serial_is_sixteen_octets(serial: str) -> None:
    assert refused(replace(REVOKE, subject=serial)).place == "subject"


@pytest.mark.cps("4.4.1")
def test_reasons_of_a_revocation() -> None:
    assert act_of(REVOKE, NOW).reason is CrlReason.keyCompromise
    for reason in CrlReason:
        request = replace(REVOKE, reason=reason)
        if reason.name in ("certificateHold", "removeFromCRL"):
            assert refused(request).place == "reason"
            with pytest.raises(InputRejected, match="no reason that a revocation may have"):
                reason_named(reason.name)
        else:
            assert act_of(request, NOW).reason is reason_named(reason.name) is reason
    suspend = ActRequest(Verb.SUSPEND, Scope.CARD, "MG1", "token-lost", reason=CrlReason.superseded)
    assert refused(suspend).place == "reason"


def test_the_numbers_are_those_of_the_rfc() -> None:
    """RFC 5280 section 5.3.1, typed from its text."""
    assert {reason.value: reason.name for reason in CrlReason} == {
        0: "unspecified",
        1: "keyCompromise",
        2: "cACompromise",
        3: "affiliationChanged",
        4: "superseded",
        5: "cessationOfOperation",
        6: "certificateHold",
        8: "removeFromCRL",
        9: "privilegeWithdrawn",
        10: "aACompromise",
    }


def test_nothing_is_bad_since_tomorrow() -> None:
    assert act_of(replace(REVOKE, invalidity_at=NOW), NOW).invalidity_at == NOW
    assert refused(replace(REVOKE, invalidity_at=NOW + timedelta(seconds=1))).place == "invalidity_date"
    assert refused(replace(REVOKE, invalidity_at=NOW.replace(year=1969))).place == "invalidity_date"
    suspend = ActRequest(Verb.SUSPEND, Scope.CARD, "MG1", "token-lost", invalidity_at=NOW)
    assert refused(suspend).place == "invalidity_date"


def test_an_act_is_what_was_asked() -> None:
    act = act_of(NOTICE, NOW)
    ground = find_ground(Verb.SUSPEND, "judicial-notice")
    assert act == Act(
        Verb.SUSPEND, Scope.ENTITY, "00001001", ground, Origin.JUDICIAL, "court", "1", None, None
    )
