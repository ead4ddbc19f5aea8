"""Where certificates stand, and every act that touched them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.errors import InputRejected
from engine.status.history import History, history_of
from engine.status.origins import Origin, Verb
from engine.store.bulk_select import ASKED_AT_ONCE
from engine.store.schema import CertificateState
from engine.store.status_history import acts_on_items
from tests.status.issued import COMPANY, Issued


def history(issued: Issued, subject: str) -> History:
    with issued.store.read() as connection:
        return history_of(connection, subject)


def test_acts_in_their_order_with_what_they_touched(issued: Issued) -> None:
    first, second = issued.serials("P")
    issued.do(Verb.ACCEPT, "P", "content-confirmed")
    issued.do(Verb.SUSPEND, first, "token-lost")
    issued.clock.move(timedelta(hours=1))
    issued.do(Verb.SUSPEND, COMPANY, "authority-notice", on_behalf_of="經濟部", document="經授商字第1號")
    issued.do(Verb.RESUME, first, "subscriber-request")
    issued.do(Verb.REVOKE, first, "key-compromise")
    issued.do(Verb.SUSPEND, "X", "token-lost")
    found = history(issued, "P")
    signature, encryption = (certificate.item_id for certificate in found.certificates)
    assert [(act.verb, act.items) for act in found.acts] == [
        ("accept", (signature, encryption)),
        ("suspend", (signature,)),
        ("suspend", (signature, encryption)),
        ("resume", (signature,)),
        ("revoke", (signature,)),
    ]
    authority = found.acts[2]
    assert (authority.origin, authority.on_behalf_of, authority.scope, authority.subject) == (
        "authority",
        "經濟部",
        "entity",
        COMPANY,
    )
    assert (authority.ground, authority.document, authority.actor, authority.performed_at) == (
        "authority-notice",
        "經授商字第1號",
        "account tester",
        issued.clock.now(),
    )
    assert [act.verb for act in history(issued, second.lower()).acts] == ["accept", "suspend"]


def test_where_a_certificate_stands(issued: Issued) -> None:
    begin = issued.clock.now()
    issued.do(Verb.SUSPEND, "P", "token-lost")
    issued.clock.move(timedelta(hours=1))
    issued.do(Verb.SUSPEND, "P", "token-lost", origin=Origin.COUNTER)
    for certificate in history(issued, "P").certificates:
        assert (certificate.state, certificate.since) == (CertificateState.HELD, begin)
        assert [(hold.origin, hold.on_behalf_of, hold.placed_at) for hold in certificate.holds] == [
            (Origin.SUBSCRIBER, "", begin),
            (Origin.COUNTER, "", issued.clock.now()),
        ]
        assert certificate.accepted_at is None


def test_a_certificate_that_nobody_touched_has_no_acts(issued: Issued) -> None:
    assert history(issued, "U").acts == []


@pytest.mark.parametrize("subject", ["none", "00" * 16, "", "\udcff"])
def test_what_is_unknown(issued: Issued, subject: str) -> None:
    with pytest.raises(InputRejected) as raised:
        history(issued, subject)
    assert raised.value.place == "certificate"


def test_a_history_is_asked_for_a_card_and_not_for_a_run(issued: Issued) -> None:
    with issued.store.read() as connection, pytest.raises(ValueError, match="at most"):
        acts_on_items(connection, range(ASKED_AT_ONCE + 1))
