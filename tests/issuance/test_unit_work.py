"""A work unit step by step, with a CA key of the test's own in the token's place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.algorithms import SignatureAlgorithm
from engine.clock import SystemClock
from engine.errors import AuditFailed, LeaseLost, SignerFailed, StoreError, TokenError
from engine.issuance.unit_work import ReservedUnit, UnitWork
from engine.metrics.spending import StepMeter
from engine.store.database import Store, open_store
from engine.store.work_units import Lease, lease_next
from engine.x509.issuer import Issuer
from engine.x509.periods import Period
from engine.x509.profiles import load_profiles
from tests.cli.prepared_home import UNIT, PreparedHome

CA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CA_PUBLIC = CA_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
CA_NAME = bytes.fromhex("300d310b3009060355040613025457")  # C=TW
PERIOD = timedelta(minutes=2)


@pytest.fixture
def store(home: PreparedHome) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{home.path}/store.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def work(store: Store) -> UnitWork:
    not_after = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7_000)
    return UnitWork(
        store,
        SystemClock(),
        profiles=load_profiles(),
        issuer=Issuer.self_signed(CA_NAME, CA_PUBLIC, not_after, SignatureAlgorithm.RSA_PKCS1_SHA256),
        issuer_public_key=CA_PUBLIC,
        validity=Period.parse("P5Y"),
        actor="worker test",
        lease_time=PERIOD,
        meter=StepMeter(),
    )


def lease(store: Store, *, after: timedelta = timedelta()) -> Lease:
    """Lease the next unit, as it were after some time."""
    now = SystemClock().now() + after
    with store.write() as connection:
        found = lease_next(connection, 1, holder="test", now=now, until=now + PERIOD, reserved_only=False)
    assert found is not None
    return found


def signatures(unit: ReservedUnit) -> list[bytes]:
    return [CA_KEY.sign(item.tbs, padding.PKCS1v15(), SHA256()) for item in unit.items]


def counts(home: PreparedHome) -> tuple[int, int, int]:
    """Reservations, signatures, failures."""
    return (
        home.number("SELECT count(*) FROM reservation"),
        home.number("SELECT count(*) FROM signature"),
        home.number("SELECT count(*) FROM item_failure"),
    )


def test_a_unit_is_reserved_and_completed(home: PreparedHome, store: Store, work: UnitWork) -> None:
    unit = work.reserve(lease(store))
    assert counts(home) == (UNIT, 0, 0)
    assert {item.tbs for item in unit.items} == {tbs for (tbs,) in home.query("SELECT tbs FROM reservation")}
    outcome = work.complete(unit, signatures(unit))
    assert (outcome.issued, outcome.failed) == (UNIT, 0)
    assert counts(home) == (UNIT, UNIT, 0)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE card SET subject = x'3000' WHERE id = ?",
        "UPDATE item SET public_key = x'0500' WHERE card_id = ?",
    ],
    ids=["subject", "public key"],
)
def test_items_that_cannot_be_built_fail_and_the_others_are_issued(
    home: PreparedHome, store: Store, work: UnitWork, damage: str
) -> None:
    ((card,),) = home.query("SELECT card_id FROM item ORDER BY id LIMIT 1")
    home.change(damage, card)
    unit = work.reserve(lease(store))
    assert len(unit.failed) == 2
    assert counts(home) == (UNIT - 2, 0, 0)
    outcome = work.complete(unit, signatures(unit))
    assert (outcome.issued, outcome.failed) == (UNIT - 2, 2)
    assert counts(home) == (UNIT - 2, UNIT - 2, 2)


def test_a_unit_of_which_nothing_can_be_built_is_completed_with_failures(
    home: PreparedHome, store: Store, work: UnitWork
) -> None:
    home.change("UPDATE card SET subject = x'3000'")
    unit = work.reserve(lease(store))
    assert list(unit.items) == []
    assert work.complete(unit, []).failed == UNIT
    assert counts(home) == (0, 0, UNIT)


def test_a_signature_that_does_not_verify_is_a_failure_and_never_stored(
    home: PreparedHome, store: Store, work: UnitWork
) -> None:
    unit = work.reserve(lease(store))
    good = signatures(unit)
    wrong: list[bytes | TokenError] = [good[1], good[0], bytes(256), SignerFailed("refused"), *good[4:]]
    outcome = work.complete(unit, wrong)
    assert (outcome.issued, outcome.failed) == (UNIT - 4, 4)
    stored = {signature for (signature,) in home.query("SELECT signature FROM signature")}
    assert stored == set(good[4:])
    reasons = [reason for (reason,) in home.query("SELECT reason FROM item_failure ORDER BY item_id")]
    assert reasons[3] == "refused"


def test_a_unit_that_another_worker_took_leaves_nothing(
    home: PreparedHome, store: Store, work: UnitWork
) -> None:
    home.change("UPDATE work_unit SET state = 'completed' WHERE id > 1")  # or they would come first
    first = lease(store)
    second = lease(store, after=2 * PERIOD)
    assert (first.unit_id, first.fence + 1) == (second.unit_id, second.fence)
    with pytest.raises(LeaseLost):
        work.reserve(first)
    assert counts(home) == (0, 0, 0)
    unit = work.reserve(second)
    third = lease(store, after=4 * PERIOD)
    assert third.reserved
    with pytest.raises(LeaseLost):
        work.complete(unit, signatures(unit))
    assert counts(home) == (UNIT, 0, 0)


def test_a_reserved_unit_is_taken_over_byte_for_byte(
    home: PreparedHome, store: Store, work: UnitWork
) -> None:
    unit = work.reserve(lease(store))
    records = home.number("SELECT count(*) FROM audit_record WHERE event = 'unit.reserved'")
    again = work.reserve(lease(store, after=2 * PERIOD))
    assert [item.tbs for item in again.items] == [item.tbs for item in unit.items]
    assert counts(home) == (UNIT, 0, 0)
    assert home.number("SELECT count(*) FROM audit_record WHERE event = 'unit.reserved'") == records
    assert work.complete(again, signatures(again)).issued == UNIT


@pytest.mark.cps("4.5.6")
@pytest.mark.parametrize("step", ["reserved", "completed"])
def test_what_cannot_be_audited_does_not_happen(
    home: PreparedHome, store: Store, work: UnitWork, step: str
) -> None:
    home.change(
        f"CREATE TRIGGER no_audit BEFORE INSERT ON audit_record WHEN NEW.event = 'unit.{step}'"
        " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    if step == "reserved":
        with pytest.raises(AuditFailed, match="the disk is full"):
            work.reserve(lease(store))
        assert counts(home) == (0, 0, 0)
        return
    unit = work.reserve(lease(store))
    with pytest.raises(StoreError, match="the disk is full"):
        work.complete(unit, signatures(unit))
    assert counts(home) == (UNIT, 0, 0)
    assert home.number("SELECT sum(issued) FROM crl_partition") == 0
