"""Signing ahead without a token: which cards, what is signed, what is recorded before and stored after."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography.x509 import ocsp
from sqlalchemy import select

from engine.errors import ClockWrong, SignatureInvalid, SignerUnavailable, StoreError, TokenError
from engine.pkcs11.lanes import Lane
from engine.status import answer_pipeline
from engine.status.answer_pipeline import AnswerPipeline, UrgentAnswerPipeline
from engine.status.card_record import AnswerHead, answer_head
from engine.status.pre_signing import (
    EARLIEST_RENEWAL,
    ENTRIES_AT_ONCE,
    LATEST_RENEWAL,
    AnswerBatch,
    PreSigning,
)
from engine.status.status_store import StatusReader
from engine.store.database import Store
from engine.store.schema import CertificateState, audit_record, ocsp_answer, ocsp_batch, to_microseconds
from engine.store.standings import cards_owed_an_answer
from engine.store.status_changes import last_change, reader_position
from tests.status.ocsp_authority import DAY, OcspAuthority
from tests.store.plans import NOT_AFTER, NOW

HOUR = timedelta(hours=1)
YEAR = timedelta(days=365.25)
READER = "pre-signing/0/1"


@pytest.fixture
def ca(store: Store, tmp_path: Path) -> OcspAuthority:
    return OcspAuthority(store, tmp_path)


def prepared(work: PreSigning, cards: Sequence[int], read_until: int | None = None) -> AnswerBatch:
    batch = work.prepare(cards, urgent=False, read_until=read_until)
    assert batch is not None
    return batch


def heads(ca: OcspAuthority) -> dict[int, AnswerHead]:
    """The heads of the stored answers, by card."""
    with ca.store.read() as connection:
        rows = connection.execute(select(ocsp_answer.c.card_id, ocsp_answer.c.answer)).all()
    return {row.card_id: answer_head(row.answer) for row in rows}


def renewals(ca: OcspAuthority) -> dict[int, int]:
    """When each stored answer is renewed, in microseconds."""
    with ca.store.read() as connection:
        rows = connection.execute(select(ocsp_answer.c.card_id, ocsp_answer.c.renew_at)).all()
    return {row.card_id: row.renew_at for row in rows}


def position(ca: OcspAuthority, reader: str = READER) -> int:
    with ca.store.read() as connection:
        return reader_position(connection, reader)


def end_of_feed(ca: OcspAuthority) -> int:
    with ca.store.read() as connection:
        return last_change(connection)


def owed(ca: OcspAuthority) -> list[int]:
    with ca.store.read() as connection:
        return cards_owed_an_answer(connection, 100)


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


# ---- which cards ----


def test_a_change_is_owed_an_answer_until_it_is_signed(ca: OcspAuthority) -> None:
    first, second, _ = ca.issue(3)
    work = ca.work()
    assert work.owed(10) == []
    ca.act(second, 0, CertificateState.HELD)
    ca.clock.move(HOUR)
    ca.act(first, 0, CertificateState.HELD)
    assert work.owed(10) == [second, first]
    assert work.owed(1) == [second]
    ca.pre_sign([second], urgent=True)
    assert work.owed(10) == [first]
    ca.act(second, 0, CertificateState.GOOD)
    assert work.owed(10) == [first, second]


def test_new_cards_are_found_by_the_feed(ca: OcspAuthority) -> None:
    ca.issue(3)
    work = ca.work()
    found = work.new(None)
    assert (found.cards, found.read_until) == ([1, 2, 3], 3)
    assert work.new(found.read_until).read_until is None
    ca.pre_sign([2])
    assert work.new(None).cards == [1, 3]


def test_a_card_is_new_again_when_it_gets_a_further_certificate(ca: OcspAuthority) -> None:
    ca.plan(1, unit_size=1)
    ca.issue_next()
    work = ca.work()
    batch = prepared(work, [1], work.new(None).read_until)
    work.complete(batch, ca.sign(batch))
    assert work.new(None).cards == []
    ca.issue_next()
    assert work.new(None).cards == [1]
    ca.pre_sign([1])
    assert work.new(None).cards == []


def test_a_card_that_was_over_is_owed_an_answer_with_a_further_certificate(ca: OcspAuthority) -> None:
    ca.plan(1, unit_size=1)
    ca.issue_next(not_after=NOW + DAY)
    ca.act(1, 0, CertificateState.HELD)
    ca.pre_sign([1])
    ca.clock.move(2 * DAY)
    assert ca.work().prepare([1], urgent=False) is None
    ca.issue_next()
    assert ca.work().owed(10) == [1]
    ca.pre_sign([1])
    assert heads(ca)[1].covered == 0b10


def test_an_answer_that_does_not_cover_a_further_certificate_does_not_count(ca: OcspAuthority) -> None:
    """It was being signed when the certificate came."""
    ca.plan(1, unit_size=1)
    ca.issue_next()
    ca.act(1, 0, CertificateState.HELD)
    work = ca.work()
    narrow = prepared(work, [1])
    ca.issue_next()
    ca.pre_sign([1], urgent=True)
    assert work.complete(narrow, ca.sign(narrow)) == 0
    assert (heads(ca)[1].covered, owed(ca)) == (0b11, [])


def test_the_feed_is_read_in_parts(ca: OcspAuthority) -> None:
    cards = ca.issue(ENTRIES_AT_ONCE + 3)
    work = ca.work()
    first = work.new(None)
    assert (first.cards, first.read_until) == (cards[:ENTRIES_AT_ONCE], ENTRIES_AT_ONCE)
    assert work.new(first.read_until).cards == cards[ENTRIES_AT_ONCE:]


def test_what_was_read_and_not_signed_is_found_by_the_next_signer(ca: OcspAuthority) -> None:
    ca.issue(2)
    work = ca.work()
    found = work.new(None)
    prepared(work, found.cards, found.read_until)  # and killed
    again = ca.work()
    assert again.new(None).cards == [1, 2]
    batch = prepared(again, [1, 2], found.read_until)
    with pytest.raises(SignerUnavailable):
        again.complete(batch, [ca.sign(batch)[0], SignerUnavailable("away")])
    assert position(ca) == 0
    assert ca.work().new(None).cards == [2]
    last = prepared(again, [2], found.read_until)
    again.complete(last, ca.sign(last))
    assert position(ca) == found.read_until


def test_signers_divide_the_cards(ca: OcspAuthority) -> None:
    cards = ca.issue(7)
    shares = [ca.work((place, 3)) for place in range(3)]
    assert sorted(card for work in shares for card in work.new(None).cards) == cards
    for card in cards:
        ca.act(card, 0, CertificateState.HELD)
    assert [card for work in shares for card in work.new(None).cards] == [], "owed is more urgent than new"
    assert sorted(card for work in shares for card in work.owed(10)) == cards
    ca.pre_sign(cards)
    ca.clock.move(48 * HOUR)
    assert sorted(card for work in shares for card in work.due(10)) == cards
    for place, work in enumerate(shares):
        assert {card % 3 for card in (*work.owed(10), *work.due(10))} == {place}


def test_renewals_are_spread_out_and_come_in_time(ca: OcspAuthority) -> None:
    cards = ca.issue(64)
    ca.pre_sign(cards)
    at = renewals(ca)
    assert all(
        seconds(NOW) + EARLIEST_RENEWAL * 48 * 3600
        <= moment / 1e6
        < seconds(NOW) + LATEST_RENEWAL * 48 * 3600
        for moment in at.values()
    )
    # Of 64 cards in a row none are renewed at the same time, and no gap is more than a tenth of the span.
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(at.values()))]
    assert min(gaps) > 0
    assert max(gaps) < (LATEST_RENEWAL - EARLIEST_RENEWAL) * 48 * 3600 * 1e6 / 10
    assert sorted(at, key=at.__getitem__) != cards
    work = ca.work()
    assert work.due(100) == []
    ca.clock.move(timedelta(seconds=48 * 3600 * LATEST_RENEWAL))
    assert work.due(100) == sorted(at, key=at.__getitem__)
    assert work.due(3) == sorted(at, key=at.__getitem__)[:3]
    ca.pre_sign(cards)
    assert work.due(100) == []


# ---- what is signed ----


@pytest.mark.judge("cryptography")
def test_one_signature_covers_all_certificates_under_all_hashes(ca: OcspAuthority) -> None:
    (card,) = ca.issue(1)
    ca.act(card, 1, CertificateState.REVOKED)
    batch = prepared(ca.work(), [card])
    (answer,) = batch.answers
    assert answer.revision == 1
    ca.pre_sign([card])
    ca.follow()
    with StatusReader(ca.status_store) as reader:
        sent = reader.presigned(0, ca.serials(card)[0], seconds(NOW))
    assert sent is not None
    response = ocsp.load_der_ocsp_response(sent.response)
    numbers = [int.from_bytes(serial, "big") for serial in ca.serials(card)]
    assert [
        (one.hash_algorithm.name, one.serial_number, one.certificate_status.name)
        for one in response.responses
    ] == [
        (name, number, state)
        for name in ("sha1", "sha256")
        for number, state in zip(numbers, ("GOOD", "REVOKED"), strict=True)
    ]
    assert response.tbs_response_bytes == answer.tbs
    assert response.produced_at_utc == NOW
    assert {one.next_update_utc for one in response.responses} == {NOW + 48 * HOUR}


def test_the_hashes_and_the_validity_are_those_configured(ca: OcspAuthority) -> None:
    ca.settings |= {"hashes": ["sha256"], "validity_hours": 6}
    (card,) = ca.issue(1)
    ca.pre_sign([card])
    head = heads(ca)[card]
    assert (head.hashes, head.next_update - head.this_update) == (0b10, 6 * 3600)


def test_no_answer_outlives_its_responder(ca: OcspAuthority) -> None:
    (card,) = ca.issue(1)
    end = NOW + 30 * HOUR
    ca.add_responder(NOW, end)
    ca.pre_sign([card])
    assert heads(ca)[card].next_update == seconds(end)
    assert heads(ca)[card].responder == 2
    assert renewals(ca)[card] < to_microseconds(end)


def test_an_expired_certificate_gets_no_new_answer(ca: OcspAuthority) -> None:
    """The card's other certificate still does; when both have expired, the card needs none any more."""
    ca.plan(1, unit_size=1)
    ca.issue_next(not_after=NOW + DAY)
    ca.issue_next(not_after=NOW + 3 * DAY)
    ca.act(1, 0, CertificateState.HELD)
    ca.pre_sign([1])
    assert heads(ca)[1].covered == 0b11
    ca.clock.move(DAY)
    ca.pre_sign([1])
    assert heads(ca)[1].covered == 0b11  # the last second counts (RFC 5280 4.1.2.5)
    ca.clock.move(timedelta(seconds=1))
    ca.pre_sign([1])
    assert (heads(ca)[1].covered, heads(ca)[1].archive_cutoff) == (0b10, 0)
    ca.clock.move(2 * DAY)
    ca.act(1, 1, CertificateState.HELD)
    work = ca.work()
    assert (work.owed(10), work.due(10)) == ([1], [1])
    batches = batch_count(ca)
    assert work.prepare([1], urgent=True) is None
    assert (work.owed(10), work.due(10), heads(ca)) == ([], [], {})
    assert batch_count(ca) == batches


def batch_count(ca: OcspAuthority) -> int:
    with ca.store.read() as connection:
        return len(connection.execute(select(ocsp_batch.c.id)).all())


@pytest.mark.judge("cryptography")
def test_with_archive_cutoff_expired_certificates_are_answered_for_the_retention(ca: OcspAuthority) -> None:
    ca.settings |= {"archive_cutoff_years": 2}
    (card,) = ca.issue(1)
    ca.clock.move(NOT_AFTER - NOW)
    ca.pre_sign([card])
    assert heads(ca)[card].archive_cutoff == 0
    ca.clock.move(timedelta(days=400))
    now = ca.clock.now()
    ca.pre_sign([card])
    assert heads(ca)[card].archive_cutoff == seconds(now - 2 * YEAR)
    ca.follow()
    with StatusReader(ca.status_store) as reader:
        sent = reader.presigned(0, ca.serials(card)[0], seconds(now))
    assert sent is not None
    cutoff = b"\x18\x0f" + (now - 2 * YEAR).strftime("%Y%m%d%H%M%SZ").encode()
    assert sent.response.count(cutoff) == 4  # two certificates, two hashes
    ca.clock.move(2 * YEAR - timedelta(days=400))
    assert ca.work().prepare([card], urgent=False) is not None  # the very end of the retention
    ca.clock.move(timedelta(seconds=1))
    assert ca.work().prepare([card], urgent=False) is None


# ---- what is recorded ----


def test_digests_are_recorded_and_audited_before_there_is_a_signature(ca: OcspAuthority) -> None:
    cards = ca.issue(3)
    batch = prepared(ca.work(), cards)
    digests = [hashlib.sha256(answer.tbs).digest() for answer in batch.answers]
    with ca.store.read() as connection:
        (row,) = connection.execute(select(ocsp_batch)).all()
        (body,) = connection.execute(
            select(audit_record.c.body).where(audit_record.c.event == "ocsp.batch-reserved")
        ).scalars()
    assert row.digests == b"".join(digests)
    assert (row.id, row.responder_id, row.urgent, row.completed_at) == (batch.batch_id, 1, False, None)
    recorded = json.loads(body)
    assert (recorded["batch"], recorded["answers"], recorded["urgent"]) == (batch.batch_id, 3, False)
    assert recorded["digests_sha256"] == hashlib.sha256(row.digests).hexdigest()


def test_without_its_audit_record_a_batch_is_not_reserved(ca: OcspAuthority) -> None:
    cards = ca.issue(1)
    prepared(ca.work(), cards)
    ca.clock.move(-HOUR)  # before the newest record
    with pytest.raises(ClockWrong):
        ca.work().prepare(cards, urgent=False)
    assert batch_count(ca) == 1


def test_a_wrong_signature_is_not_stored_and_the_others_are(ca: OcspAuthority) -> None:
    cards = ca.issue(3)
    work = ca.work()
    batch = prepared(work, cards, read_until=3)
    outcomes = ca.sign(batch)
    outcomes[0], outcomes[1] = outcomes[1], outcomes[0]
    with pytest.raises(SignatureInvalid):
        work.complete(batch, outcomes)
    assert list(heads(ca)) == [cards[2]]
    assert position(ca) == 0


def test_what_the_token_refused_is_owed_and_the_others_are_stored(ca: OcspAuthority) -> None:
    first, second = ca.issue(2)
    for card in (first, second):
        ca.act(card, 0, CertificateState.REVOKED)
    work = ca.work()
    batch = prepared(work, [first, second])
    outcomes = ca.sign(batch)
    outcomes[1] = SignerUnavailable("away")
    with pytest.raises(SignerUnavailable, match="away"):
        work.complete(batch, outcomes)
    assert (list(heads(ca)), owed(ca)) == ([first], [second])


def test_an_older_answer_does_not_take_the_place_of_a_newer(ca: OcspAuthority) -> None:
    first, second = ca.issue(2)
    work = ca.work()
    early = prepared(work, [first, second])
    ca.act(first, 0, CertificateState.REVOKED)
    ca.pre_sign([first], urgent=True)
    ca.clock.move(timedelta(seconds=1))
    assert work.complete(early, ca.sign(early)) == 1
    assert {card: head.revision for card, head in heads(ca).items()} == {first: 1, second: 0}
    assert owed(ca) == []


# ---- the pipelines ----


class ScriptedToken:
    """Signs with the toy key; a gate may hold it up.

    Args:
        ca: whose key.
        gate: waited for before each batch.
    """

    def __init__(self, ca: OcspAuthority, gate: trio.Event | None = None) -> None:
        self._ca = ca
        self._gate = gate
        self.lanes: list[Lane] = []

    async def sign(self, messages: Sequence[bytes], lane: Lane) -> list[bytes | TokenError]:
        self.lanes.append(lane)
        if self._gate is not None:
            await self._gate.wait()
        return self._ca.sign_messages(messages)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_pipeline, "BATCH", 2)


async def run_once(
    ca: OcspAuthority, kind: type[AnswerPipeline] = AnswerPipeline, **more: Callable[[int], None]
) -> ScriptedToken:
    token = ScriptedToken(ca)
    await kind(ca.work(), token.sign, trio.Event(), once=True, **more).run()
    return token


async def test_a_pipeline_signs_new_cards_then_renews_them(ca: OcspAuthority, small_batches: None) -> None:
    cards = ca.issue(5)
    stored: list[int] = []
    token = await run_once(ca, stored=stored.append)
    assert (sorted(heads(ca)), stored, set(token.lanes)) == (cards, [2, 2, 1], {Lane.PRE_SIGNING})
    assert position(ca) == end_of_feed(ca)
    ca.clock.move(36 * HOUR)
    await run_once(ca)
    assert {head.produced_at for head in heads(ca).values()} == {seconds(ca.clock.now())}
    assert not (await run_once(ca)).lanes


async def test_the_urgent_pipeline_signs_what_is_owed_and_nothing_else(
    ca: OcspAuthority, small_batches: None
) -> None:
    cards = ca.issue(5)
    for card in cards[:3]:
        ca.act(card, 0, CertificateState.HELD)
    token = await run_once(ca, UrgentAnswerPipeline)
    assert (sorted(heads(ca)), owed(ca), set(token.lanes)) == (cards[:3], [], {Lane.URGENT})


async def test_what_changed_while_it_was_signed_is_signed_again(ca: OcspAuthority) -> None:
    (card,) = ca.issue(1)
    ca.act(card, 0, CertificateState.HELD)
    changes = iter([CertificateState.GOOD, CertificateState.REVOKED])

    class Busy(ScriptedToken):
        async def sign(self, messages: Sequence[bytes], lane: Lane) -> list[bytes | TokenError]:
            for state in changes:
                ca.act(card, 0, state)
                break
            return await super().sign(messages, lane)

    token = Busy(ca)
    await UrgentAnswerPipeline(ca.work(), token.sign, trio.Event(), once=True).run()
    assert (len(token.lanes), heads(ca)[card].revision, owed(ca)) == (3, 3, [])


async def test_cards_that_are_over_do_not_move_the_reader_past_those_in_hand(
    ca: OcspAuthority, small_batches: None
) -> None:
    """Killed then, the next signer would never hear of them again."""
    ca.issue(2)
    ca.issue(2, not_after=NOW - DAY)
    trio_token = trio.lowlevel.current_trio_token()
    all_seen = trio.Event()
    looks = itertools.count(1)

    class Watched(PreSigning):
        def due(self, limit: int) -> list[int]:
            """Asked first whenever a batch is looked for: for the third time, all four cards were seen."""
            if next(looks) == 3:
                trio_token.run_sync_soon(all_seen.set)
            return super().due(limit)

    token = ScriptedToken(ca, gate=trio.Event())  # never opened
    work = Watched(ca.context, ca.responder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(AnswerPipeline(work, token.sign, trio.Event()).run)
        await all_seen.wait()
        nursery.cancel_scope.cancel()
    assert position(ca) == 0
    assert ca.work().new(None).cards == [1, 2, 3, 4]
    await run_once(ca)
    assert sorted(heads(ca)) == [1, 2]
    assert position(ca) == end_of_feed(ca)


async def test_cards_that_are_over_are_read_past_when_nothing_is_in_hand(ca: OcspAuthority) -> None:
    ca.issue(2, not_after=NOW - DAY)
    token = await run_once(ca)
    assert (token.lanes, position(ca)) == ([], 2)


@pytest.mark.parametrize("failing", ["sign", "complete"])
async def test_a_failure_comes_out_as_it_is_and_nothing_is_lost(
    ca: OcspAuthority, small_batches: None, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = ca.issue(7)

    async def away(messages: Sequence[bytes], lane: Lane) -> list[bytes | TokenError]:
        raise SignerUnavailable("the token is away")

    def refused(*_: object) -> int:
        raise StoreError("the disk is full")

    sign = away if failing == "sign" else ScriptedToken(ca).sign
    with monkeypatch.context() as patched:
        if failing == "complete":
            patched.setattr(PreSigning, "complete", refused)
        with pytest.RaisesGroup(SignerUnavailable if failing == "sign" else StoreError):
            await AnswerPipeline(ca.work(), sign, trio.Event()).run()
    assert heads(ca) == {}
    await run_once(ca)
    assert sorted(heads(ca)) == cards


async def test_told_to_stop_it_finishes_what_is_in_hand(ca: OcspAuthority, small_batches: None) -> None:
    ca.issue(7)
    gate, stop = trio.Event(), trio.Event()
    token = ScriptedToken(ca, gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(AnswerPipeline(ca.work(), token.sign, stop).run)
        while not token.lanes:
            await trio.lowlevel.checkpoint()
        stop.set()
        gate.set()
    completed = len(heads(ca))
    assert 2 <= completed <= 6  # of three batches at most, each in another step
    with ca.store.read() as connection:
        open_batches = connection.execute(
            select(ocsp_batch.c.id).where(ocsp_batch.c.completed_at.is_(None))
        ).all()
    assert open_batches == []
