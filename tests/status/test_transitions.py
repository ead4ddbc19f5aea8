"""Every state a certificate can be in, every act on it: what it becomes, or that it is refused (CPS 4.4.1-4.4.9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from engine.errors import StatusConflict
from engine.status.acts import ActResult
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Origin, Verb
from engine.store.schema import CertificateState, crl_entry, to_microseconds
from tests.status.issued import COMPANY, EXPIRES_AFTER, EXPIRING, Issued
from tests.store.plans import contents

COURT, OTHER_COURT = "臺灣臺北地方法院", "臺灣高雄地方法院"
RULING, LETTER = "111年度聲字第1號", "經授商字第1號"

S, R, A, V = Verb.SUSPEND, Verb.RESUME, Verb.ACCEPT, Verb.REVOKE


def act(verb: Verb, ground: str, **details: Any) -> Callable[[Issued, str], ActResult]:
    return lambda issued, card: issued.do(verb, issued.serials(card)[0], ground, **details)


def authority(verb: Verb, ground: str) -> Callable[[Issued, str], ActResult]:
    """An authority acts on the whole entity."""
    return lambda issued, card: issued.do(verb, EXPIRING if card == "X" else COMPANY, ground, document=LETTER)


def unaccepted(issued: Issued, card: str) -> None:
    issued.find_unaccepted(issued.serials(card)[0])


Does = Callable[[Issued, str], object]
ACTS: dict[str, Does] = {
    "sS": act(S, "token-lost"),
    "sC": act(S, "token-lost", origin=Origin.COUNTER),
    "sA": authority(S, "business-suspended"),
    "sJ": act(S, "judicial-notice", on_behalf_of=COURT, document=RULING),
    "sN": unaccepted,
    "rS": act(R, "subscriber-request"),
    "rC": act(R, "counter-application"),
    "rA": authority(R, "cause-gone"),
    "rJ": act(R, "judicial-release", on_behalf_of=COURT, document=RULING),
    "rK": act(R, "judicial-release", on_behalf_of=OTHER_COURT, document=RULING),
    "rN": act(R, "written-application"),
    "vS": act(V, "key-compromise"),
    "vA": authority(V, "entity-ended"),
    "ac": act(A, "content-confirmed"),
}
"""First letter: suspend, resume, revoke, accept; second: subscriber, counter, authority, judicial (rK: another court
than the one that asked), non-acceptance."""

TABLE = """
after       sS sC sA sJ sN rS rC rA rJ rK rN vS vA ac
-           H  H  H  H  H  -  -  -  -  -  -  V  V  G
ac          H  H  H  H  -  -  -  -  -  -  -  V  V  -
sS          -  H  H  H  H  G  -  -  -  -  -  V  V  H
sC          H  -  H  H  H  -  G  -  -  -  -  V  V  H
sA          H  H  -  H  H  -  -  G  -  -  -  V  V  H
sJ          H  H  H  -  H  -  -  -  G  -  -  V  V  H
sN          H  H  H  H  -  -  -  -  -  -  G  V  V  -
sS,sA       -  H  -  H  H  H  -  H  -  -  -  V  V  H
sA,sS,rA    -  H  H  H  H  G  -  -  -  -  -  V  V  H
sN,rN       H  H  H  H  -  -  -  -  -  -  -  V  V  G
sN,rN,ac    H  H  H  H  -  -  -  -  -  -  -  V  V  -
sS,rS       H  H  H  H  H  -  -  -  -  -  -  V  V  G
sS,ac       -  H  H  H  -  G  -  -  -  -  -  V  V  -
vS          -  -  -  -  -  -  -  -  -  -  -  -  -  -
sS,sJ,vA    -  -  -  -  -  -  -  -  -  -  -  -  -  -
"""
"""G good, H held, V revoked afterwards; -: refused, and nothing is changed."""

LINES = [line.split() for line in TABLE.split("\n") if line]
CELLS = [
    (before, column, cell)
    for before, *cells in LINES[1:]
    for column, cell in zip(LINES[0][1:], cells, strict=True)
]
STATES = {"G": "GOOD", "H": "HELD", "V": "REVOKED"}


def brought_to(issued: Issued, before: str) -> None:
    for name in before.split(",") if before != "-" else ():
        ACTS[name](issued, "X")
        issued.clock.move(timedelta(minutes=1))


@pytest.mark.cps("4.4.1")
@pytest.mark.cps("4.4.5")
@pytest.mark.cps("4.4.8")
@pytest.mark.cps("4.4.9")
@pytest.mark.cps("choice 10")
@pytest.mark.parametrize(("before", "column", "cell"), CELLS)
def test_table(issued: Issued, before: str, column: str, cell: str) -> None:
    brought_to(issued, before)
    unchanged = contents(issued.store)
    if cell == "-":
        with pytest.raises(StatusConflict):
            ACTS[column](issued, "X")
        left = contents(issued.store)
        records = len(left.pop("audit_record")) - len(unchanged.pop("audit_record"))
        assert records == 1
        del left["audit_head"], unchanged["audit_head"]
        assert left == unchanged
        assert issued.events()[-1][0] == "status-act.refused"
    else:
        ACTS[column](issued, "X")
        assert issued.states("X")[0] == STATES[cell]


@pytest.mark.cps("4.4.8")
@pytest.mark.parametrize("column", [column for column in LINES[0][1:] if column not in {"rK"}])
def test_an_expired_certificate_is_left_alone(issued: Issued, column: str) -> None:
    if column.startswith("r"):
        ACTS["s" + column[1]](issued, "X")
    issued.clock.move(EXPIRES_AFTER)
    with pytest.raises(StatusConflict, match="expired"):
        ACTS[column](issued, "X")


def entry(issued: Issued) -> dict[str, object] | None:
    with issued.store.read() as connection:
        rows = connection.execute(select(crl_entry)).mappings().all()
    serial = bytes.fromhex(issued.serials("X")[0])
    return next((dict(row) for row in rows if row["serial"] == serial), None)


def test_a_held_certificate_is_held_since_its_first_standing_hold(issued: Issued) -> None:
    first = issued.clock.now()
    brought_to(issued, "sS,sC")
    (status,) = issued.status("X")
    assert (status.since, status.reason) == (first, CrlReason.certificateHold)
    found = entry(issued)
    assert found is not None
    assert (found["since"], found["reason"]) == (to_microseconds(first), CrlReason.certificateHold)
    ACTS["rS"](issued, "X")
    assert issued.status("X")[0].since == first + timedelta(minutes=1)
    ACTS["rC"](issued, "X")
    (status,) = issued.status("X")
    assert (status.state, status.since, status.reason) == (CertificateState.GOOD, None, None)
    assert entry(issued) is None


def test_a_second_hold_changes_nothing_for_relying_parties(issued: Issued) -> None:
    brought_to(issued, "sS")
    before = issued.sequence
    brought_to(issued, "sC")
    brought_to(issued, "rC")
    assert issued.sequence == before


@pytest.mark.cps("4.4.1")
def test_a_revoked_certificate_is_revoked_since_then_and_its_holds_end(issued: Issued) -> None:
    brought_to(issued, "sS,sC")
    now = issued.clock.now()
    since = now - timedelta(days=2)
    result = issued.do(
        V,
        issued.serials("X")[0],
        "key-compromise",
        reason=CrlReason.superseded,
        invalidity_at=since,
    )
    (touched,) = result.certificates
    assert (touched.state, touched.since, touched.reason) == (
        CertificateState.REVOKED,
        now,
        CrlReason.superseded,
    )
    (status,) = issued.status("X")
    assert (status.state, status.since, status.holds) == (CertificateState.REVOKED, now, ())
    found = entry(issued)
    assert found is not None
    assert (found["since"], found["invalidity_at"]) == (to_microseconds(now), to_microseconds(since))
