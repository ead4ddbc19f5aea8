"""The 18-month rule for both modes of issuance, with a clock that is moved (CPS 4.4.5(4), (5), 4.4.9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from engine.clock import TAIPEI, SetClock
from engine.status import non_acceptance
from engine.status.act_request import ActRequest
from engine.status.acts import StatusActs
from engine.status.non_acceptance import is_overdue, overdue_before, suspend_unaccepted
from engine.status.origins import Origin, Scope, Verb
from engine.store.certificates import Reserved, Signed, complete, reserve, unit_items
from engine.store.database import Store
from engine.store.runs import RunState
from engine.store.schema import CertificateState, card, certificate_status, hold, item, run, to_microseconds
from engine.store.status_changes import ChangeKind, changes_after, last_change
from engine.store.work_units import mark_completed, mark_reserved
from engine.x509.serial_numbers import SerialNumbers
from tests.store.plans import LEASE, NOT_AFTER, lease, plan

ISSUED = datetime(2026, 3, 2, 10, 0, tzinfo=TAIPEI)
LAST_DAY = datetime(2027, 9, 2, 23, 59, 59, 999999, tzinfo=TAIPEI)
MOMENT = timedelta(microseconds=1)


class Runs:
    """Runs of two cards, 1 and 2, 3 and 4 …, issued at the clock's time with serials that say so."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = SetClock(ISSUED)
        self.acts = StatusActs(store, self.clock, "tester")

    def issue(self, mode: str = "direct", *, later: timedelta = timedelta(0), closed: bool = True) -> int:
        """Issue a run whose second card comes so much later than its first; close it."""
        run_id = plan(self.store, 2)
        serials = SerialNumbers(self.clock)
        for wait in (later, timedelta(0)):
            held = lease(self.store, run_id, now=self.clock.now())
            with self.store.write() as connection:
                items = [one.item_id for one in unit_items(connection, held.unit_id)]
                mark_reserved(connection, held, self.clock.now() + LEASE)
                not_after = to_microseconds(NOT_AFTER)
                reserve(
                    connection,
                    [
                        Reserved(n, serial, not_after, b"")
                        for n, serial in zip(items, serials.take(2), strict=True)
                    ],
                )
                mark_completed(connection, held, issued=2, failed=0)
                complete(connection, held.partition_id, [Signed(n, not_after, b"") for n in items])
            last = self.clock.now()
            self.clock.move(wait)
        with self.store.write() as connection:
            connection.execute(update(run).where(run.c.id == run_id).values(issuance_mode=mode))
            if closed:
                state = RunState.COMPLETED.value
                connection.execute(
                    update(run)
                    .where(run.c.id == run_id)
                    .values(state=state, closed_at=self.clock.now(), last_certificate_at=last)
                )
        return run_id

    def move_to(self, moment: datetime) -> None:
        self.clock.move(moment - self.clock.now())

    async def call(self) -> int:
        return await suspend_unaccepted(self.store, self.clock, "timer")

    def do(self, verb: Verb, number: int, ground: str, origin: Origin | None = None) -> None:
        self.acts.perform(ActRequest(verb, Scope.CARD, self.card(number), ground, origin))

    def card(self, number: int) -> str:
        with self.store.read() as connection:
            return str(connection.execute(select(card.c.number).where(card.c.id == number)).scalar_one())

    def held(self) -> list[int]:
        """The cards whose certificates are all held."""
        with self.store.read() as connection:
            rows = connection.execute(
                select(item.c.card_id)
                .join(certificate_status, certificate_status.c.item_id == item.c.id)
                .where(certificate_status.c.state == CertificateState.HELD)
            )
            cards = list(rows.scalars())
        assert len(cards) == 2 * len(set(cards))
        return sorted(set(cards))


@pytest.fixture
def runs(store: Store) -> Runs:
    return Runs(store)


@pytest.mark.cps("4.4.5")
@pytest.mark.cps("choice 2")
@pytest.mark.cps("choice 12")
async def test_direct_issuance_counts_from_the_last_certificate_of_the_run(runs: Runs) -> None:
    runs.issue(later=timedelta(days=10))
    for before in (LAST_DAY, LAST_DAY + timedelta(days=10)):
        runs.move_to(before)
        assert await runs.call() == 0
    runs.clock.move(MOMENT)
    assert await runs.call() == 4
    assert runs.held() == [1, 2]


@pytest.mark.cps("4.4.5")
async def test_an_application_counts_from_each_certificate(runs: Runs) -> None:
    runs.issue("application", later=timedelta(days=10), closed=False)
    runs.move_to(LAST_DAY)
    assert await runs.call() == 0
    runs.clock.move(MOMENT)
    assert await runs.call() == 2
    assert runs.held() == [1]
    runs.clock.move(timedelta(days=10))
    assert await runs.call() == 2
    assert runs.held() == [1, 2]


@pytest.mark.cps("4.4.5")
@pytest.mark.parametrize("state", ["running", "paused", "completed", "aborted"])
async def test_a_run_that_is_open_has_no_last_certificate_yet(runs: Runs, state: str) -> None:
    """One that was reopened to try failed items again still carries the last certificate of its first close."""
    runs.issue()
    with runs.store.write() as connection:
        connection.execute(update(run).values(state=state))
    runs.move_to(LAST_DAY + MOMENT)
    assert await runs.call() == (4 if state in ("completed", "aborted") else 0)


@pytest.mark.cps("4.4.5")
async def test_what_is_accepted_revoked_or_expired_is_left_alone(runs: Runs) -> None:
    runs.issue()
    runs.issue()
    runs.do(Verb.ACCEPT, 1, "content-confirmed")
    runs.do(Verb.REVOKE, 2, "not-needed")
    runs.do(Verb.SUSPEND, 3, "token-lost")
    runs.move_to(LAST_DAY + MOMENT)
    with runs.store.write() as connection:
        of_fourth = select(item.c.id).where(item.c.card_id == 4)
        soon = to_microseconds(runs.clock.now()) - 1
        connection.execute(
            update(certificate_status)
            .where(certificate_status.c.item_id.in_(of_fourth))
            .values(not_after=soon)
        )
    assert (
        await runs.call() == 2
    )  # the one that its subscriber suspended: its hold alone would be lifted by him
    assert runs.held() == [3]
    runs.do(Verb.RESUME, 3, "subscriber-request")
    assert runs.held() == [3]


@pytest.mark.cps("4.4.9")
async def test_what_was_resumed_on_application_is_not_suspended_again(runs: Runs) -> None:
    runs.issue()
    runs.move_to(LAST_DAY + MOMENT)
    assert await runs.call() == 4
    with runs.store.read() as connection:
        sequence = last_change(connection)
    assert await runs.call() == 0
    runs.do(Verb.RESUME, 1, "written-application")
    runs.clock.move(timedelta(days=100))
    assert await runs.call() == 0
    assert runs.held() == [2]
    runs.do(Verb.ACCEPT, 1, "content-confirmed")
    with runs.store.read() as connection:
        since = [entry.kind for entry in changes_after(connection, sequence, 100)]
    assert since == [ChangeKind.STATUS] * 2 + [ChangeKind.ACCEPTED] * 2  # the resumption, then the acceptance


async def test_every_hold_has_its_act_and_its_record(runs: Runs) -> None:
    runs.issue()
    runs.move_to(LAST_DAY + MOMENT)
    await runs.call()
    with runs.store.read() as connection:
        acts = connection.execute(select(hold.c.placed_by_act)).scalars().all()
        records = connection.exec_driver_sql("SELECT event, actor FROM audit_record").all()
    assert len(set(acts)) == 4
    assert [tuple(record) for record in records] == [("certificates.suspended", "timer")]


async def test_cancelled_it_finishes_the_transaction_in_hand(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(non_acceptance, "AT_ONCE", 2)
    runs.issue()
    runs.issue()
    runs.move_to(LAST_DAY + MOMENT)
    perform = StatusActs.perform_together
    with trio.CancelScope() as scope:

        def perform_and_cancel(self: StatusActs, acts: object) -> object:
            done = perform(self, acts)  # type: ignore[arg-type]  # passed on as it came
            trio.from_thread.run_sync(scope.cancel)
            return done

        with monkeypatch.context() as patch:
            patch.setattr(StatusActs, "perform_together", perform_and_cancel)
            await runs.call()
    assert scope.cancelled_caught
    assert runs.held() == [1]
    assert await runs.call() == 6
    assert runs.held() == [1, 2, 3, 4]


DAYS = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


@pytest.mark.cps("choice 12")
@pytest.mark.parametrize(
    ("issued", "last_day"),
    [
        ("2026-03-02", "2027-09-02"),
        ("2026-08-31", "2028-02-29"),
        ("2027-08-31", "2029-02-28"),
        ("2027-08-29", "2029-02-28"),
        ("2026-10-31", "2028-04-30"),
        ("2026-12-31", "2028-06-30"),
    ],
)
def test_a_month_that_lacks_the_day_ends_the_time_with_its_last(issued: str, last_day: str) -> None:
    """Civil Code articles 120 and 121, counted by hand."""
    begin = datetime.fromisoformat(issued + "T23:30:00+08:00")
    end = datetime.fromisoformat(last_day + "T23:59:59+08:00")
    assert not is_overdue(begin, end)
    assert is_overdue(begin, end + timedelta(seconds=1))


@settings(max_examples=300, derandomize=True, deadline=None)
@given(DAYS, st.integers(-40, 40), st.integers(0, 86_399_999_999))
def test_one_midnight_parts_what_is_overdue_from_what_is_not(now: datetime, days: int, within: int) -> None:
    cutoff = overdue_before(now)
    issued = cutoff + timedelta(days=days, microseconds=within)
    assert is_overdue(issued, now) == (issued < cutoff)
    assert is_overdue(cutoff - MOMENT, now)
    assert not is_overdue(cutoff, now)
